// The volume of a study: raw HU in pieces, the wanted slice first.
import type { ViewerPage } from "../generated";
import { BASE, headers, Problem, taken } from "../lib/api";

const PIECE = 8;
const LINES = 4;

export class Volume {
  readonly depth: number;
  readonly rows: number;
  readonly columns: number;
  readonly hu: Int16Array;
  private readonly there: Uint8Array;
  private stopped = false;

  constructor(private readonly home: string, readonly page: ViewerPage) {
    [this.depth, this.rows, this.columns] = page.shape;
    this.hu = new Int16Array(this.depth * this.rows * this.columns);
    this.there = new Uint8Array(this.depth);
  }

  has(index: number): boolean {
    return this.there[index] === 1;
  }

  get loaded(): number {
    return this.there.reduce((a, b) => a + b, 0) / this.depth;
  }

  slice(index: number): Int16Array {
    const size = this.rows * this.columns;
    return this.hu.subarray(index * size, (index + 1) * size);
  }

  stop(): void {
    this.stopped = true;
  }

  /** Load everything, from one slice outwards; `heard` is called whenever more is there. */
  async load(from: number, heard: () => void): Promise<void> {
    await this.fetch(from, 1);
    heard();
    const pieces: number[] = [];
    for (let low = 0; low < this.depth; low += PIECE) pieces.push(low);
    pieces.sort((a, b) => Math.abs(a + PIECE / 2 - from) - Math.abs(b + PIECE / 2 - from));
    const line = async () => {
      for (let low = pieces.shift(); low !== undefined && !this.stopped; low = pieces.shift()) {
        await this.again(low);
        heard();
      }
    };
    await Promise.all(Array.from({ length: LINES }, line));
  }

  /** A piece that fails is asked for again, for as long as the page is open. */
  private async again(low: number): Promise<void> {
    for (let wait = 500; !this.stopped; wait = Math.min(wait * 2, 8000)) {
      try {
        return await this.fetch(low, PIECE);
      } catch (error) {
        if (error instanceof Problem && error.status && error.status < 500) throw error;
        await new Promise((done) => setTimeout(done, wait));
      }
    }
  }

  private async fetch(low: number, count: number): Promise<void> {
    const answer = await fetch(`${BASE}${this.home}/volume?low=${low}&count=${count}`, { headers: headers() });
    if (!answer.ok) await taken(answer);
    const part = new Int16Array(await answer.arrayBuffer());
    this.hu.set(part, low * this.rows * this.columns);
    for (let k = 0; k < part.length / (this.rows * this.columns); k++) this.there[low + k] = 1;
  }
}

/** Labels of a version or of one's draft: slice index -> uint8 [row, column]. */
export async function loadLabels(path: string): Promise<Map<number, Uint8Array>> {
  const answer = await fetch(BASE + path, { headers: headers() });
  if (!answer.ok) await taken(answer);
  const indices = (answer.headers.get("X-Slices") ?? "").split(",").filter(Boolean).map(Number);
  const all = new Uint8Array(await answer.arrayBuffer());
  const size = indices.length ? all.length / indices.length : 0;
  return new Map(indices.map((index, k) => [index, all.slice(k * size, (k + 1) * size)]));
}
