// Every stroke goes to the server as a draft; until it is there it is kept in the browser too.
import type { Numbers } from "../generated";
import { BASE, headers, Problem, remove, taken } from "../lib/api";

type Kept = { base: number | null; labels: Uint8Array };
const NAME = "sarcoscope-strokes";

function open(): Promise<IDBDatabase> {
  return new Promise((done, fail) => {
    const asked = indexedDB.open(NAME, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("strokes");
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
}

async function kept<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  try {
    const database = await open();
    return await new Promise<T>((done, fail) => {
      const asked = work(database.transaction("strokes", mode).objectStore("strokes"));
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => fail(asked.error);
    }).finally(() => database.close());
  } catch {
    return undefined; // a browser without storage: the server alone keeps the draft
  }
}

async function packed(labels: Uint8Array): Promise<ArrayBuffer> {
  const stream = new Blob([labels as BlobPart]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).arrayBuffer();
}

export class Autosave {
  private readonly waiting = new Set<number>();
  private running = false;
  private stopped = false;
  private dropping = false;

  constructor(
    private readonly user: string,
    private readonly home: string,
    private readonly base: () => number | null,
    private readonly labels: (index: number) => Uint8Array,
    private readonly heard: (numbers: Numbers | null, problem: Error | null) => void,
  ) {}

  private key(index: number): string {
    return `${this.user}${this.home}/${String(index).padStart(6, "0")}`;
  }

  get pending(): number {
    return this.waiting.size + (this.running ? 1 : 0);
  }

  stop(): void {
    this.stopped = true;
  }

  /** What still waits is not wanted any more. */
  abandon(): void {
    this.waiting.clear();
  }
  /** Everything was undone: the draft on the server goes, in its turn. */
  drop(): void {
    this.dropping = true;
    void this.run();
  }

  /** Slices have changed. */
  put(indices: Iterable<number>): void {
    this.dropping = false;
    for (const index of indices) {
      this.waiting.add(index);
      const value: Kept = { base: this.base(), labels: this.labels(index).slice() };
      void kept("readwrite", (store) => store.put(value, this.key(index)));
    }
    void this.run();
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    let wait = 500;
    while ((this.waiting.size || this.dropping) && !this.stopped) {
      if (!this.waiting.size) {
        this.dropping = false;
        await remove(`${this.home}/draft`).catch(() => undefined);
        if (!this.waiting.size) this.running = false;
        this.heard(null, null);
        continue;
      }
      const index = this.waiting.values().next().value!;
      this.waiting.delete(index);
      const labels = this.labels(index).slice();
      try {
        const numbers = await this.send(index, labels);
        if (!this.waiting.has(index)) await kept("readwrite", (store) => store.delete(this.key(index)));
        if (!this.waiting.size) this.running = false;
        this.heard(numbers, null);
        wait = 500;
      } catch (error) {
        // Nothing that was refused is forgotten: it is sent again with the next stroke, and nothing is saved before.
        this.waiting.add(index);
        if (error instanceof Problem && error.status && error.status < 500) {
          this.running = false;
          return this.heard(null, error);
        }
        this.heard(null, error as Error);
        await new Promise((done) => setTimeout(done, wait));
        wait = Math.min(wait * 2, 5000);
      }
    }
    this.running = false;
  }

  private async send(index: number, labels: Uint8Array): Promise<Numbers> {
    const base = this.base();
    const place = `${BASE}${this.home}/draft/${index}${base === null ? "" : `?base=${base}`}`;
    let answer: Response;
    try {
      answer = await fetch(place, {
        method: "PUT",
        headers: { ...headers(), "Content-Encoding": "gzip", "Content-Type": "application/octet-stream" },
        body: await packed(labels),
      });
    } catch {
      throw new Problem(0, "offline");
    }
    return (await taken(answer)) as Numbers;
  }

  /** Strokes that never reached the server: slice -> labels, and the version that they change. */
  async left(): Promise<Map<number, Kept>> {
    const range = IDBKeyRange.bound(`${this.user}${this.home}/`, `${this.user}${this.home}/~`);
    const names = (await kept("readonly", (store) => store.getAllKeys(range))) ?? [];
    const values = ((await kept("readonly", (store) => store.getAll(range))) ?? []) as Kept[];
    return new Map(values.map((value, k) => [Number(String(names[k]).split("/").at(-1)), value]));
  }

  /** Forget what the browser kept of some slices, but for those still on their way. */
  async forgetOf(indices: Iterable<number>): Promise<void> {
    for (const index of indices) if (!this.waiting.has(index)) await kept("readwrite", (store) => store.delete(this.key(index)));
  }

  /** Forget what the browser kept. */
  async forget(): Promise<void> {
    const range = IDBKeyRange.bound(`${this.user}${this.home}/`, `${this.user}${this.home}/~`);
    await kept("readwrite", (store) => store.delete(range));
  }
}
