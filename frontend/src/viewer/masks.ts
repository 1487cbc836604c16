// The labels that are being edited: slices, what was changed, undo and redo without limit.
/** What a step did to a slice: runs of pixels that changed alike, two words each (see `difference`). */
type Change = { index: number; runs: Uint32Array };

export class Masks {
  /** Labels of every covered slice. */
  readonly slices = new Map<number, Uint8Array>();
  /** Slices that differ from the version that the work began from. */
  readonly touched = new Set<number>();
  /** The labels that the work began from. */
  private readonly base = new Map<number, Uint8Array>();
  private done: Change[][] = [];
  private undone: Change[][] = [];
  private open: Map<number, Uint8Array | null> | null = null;

  constructor(readonly size: number) {}

  /** The labels of a slice; a slice that nobody drew on is empty. */
  get(index: number): Uint8Array {
    return this.slices.get(index) ?? new Uint8Array(this.size);
  }

  /** Take labels that are not one's own work. */
  given(index: number, labels: Uint8Array): void {
    this.slices.set(index, labels);
    this.base.set(index, labels.slice());
  }

  /** Where a slice has a label now and had not at the beginning (1), or the other way round. */
  change(index: number, label: number, now: boolean): Uint8Array {
    const labels = this.get(index), before = this.base.get(index);
    return Uint8Array.from(labels, (v, i) => {
      const is = v === label, was = before?.[i] === label;
      return (now ? is && !was : was && !is) ? 1 : 0;
    });
  }

  private mark(index: number): void {
    const labels = this.slices.get(index), before = this.base.get(index);
    const unchanged = before ? !!labels && same(labels, before) : !labels?.some((v) => v);
    if (unchanged) this.touched.delete(index);
    else this.touched.add(index);
  }

  /** Begin a step that can be undone; what is drawn until `commit` belongs to it. */
  begin(): void {
    this.open = new Map();
  }

  /** The labels of a slice, to be changed within a step. */
  edit(index: number): Uint8Array {
    if (!this.open) throw new Error("no step was begun");
    if (!this.open.has(index)) this.open.set(index, this.slices.get(index)?.slice() ?? null);
    let labels = this.slices.get(index);
    if (!labels) this.slices.set(index, (labels = new Uint8Array(this.size)));
    return labels;
  }

  /** End a step as if it had not begun. */
  drop(): void {
    for (const [index, before] of this.open ?? []) {
      if (before) this.slices.set(index, before);
      else this.slices.delete(index);
    }
    this.open = null;
  }

  /** End a step; returns the slices that it changed. */
  commit(): number[] {
    const step: Change[] = [];
    for (const [index, before] of this.open ?? []) {
      const runs = difference(before, this.slices.get(index)!);
      if (!runs.length) {
        if (!before) this.slices.delete(index);
        continue;
      }
      step.push({ index, runs });
      this.mark(index);
    }
    this.open = null;
    if (step.length) {
      this.done.push(step);
      this.undone = [];
    }
    return step.map((c) => c.index);
  }

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  undo(): number[] {
    return this.turn(this.done, this.undone, 8);
  }

  redo(): number[] {
    return this.turn(this.undone, this.done, 0);
  }

  /** Give the changed pixels the labels that lie at a bit of their runs. */
  private turn(from: Change[][], to: Change[][], bit: number): number[] {
    const step = from.pop();
    if (!step) return [];
    to.push(step);
    for (const change of step) {
      // A slice that was never drawn on becomes an empty one: it was sent already.
      const labels = this.slices.get(change.index)!;
      for (let k = 0; k < change.runs.length; k += 2) {
        const first = change.runs[k]!, run = change.runs[k + 1]!;
        labels.fill((run >>> bit) & 0xff, first, first + (run >>> 16) + 1);
      }
      this.mark(change.index);
    }
    return step.map((c) => c.index);
  }
}

/** Runs of pixels that changed alike: the first pixel; then length - 1 (16 bits), label before, label after (8 each). */
function difference(before: Uint8Array | null, after: Uint8Array): Uint32Array {
  const runs: number[] = [];
  const was = (i: number) => before?.[i] ?? 0;
  for (let i = 0; i < after.length; i++) {
    if (was(i) === after[i]) continue;
    const first = i, old = was(i), now = after[i]!;
    while (i - first < 0xffff && after[i + 1] === now && was(i + 1) === old) i++;
    runs.push(first, (i - first) * 0x10000 + old * 0x100 + now);
  }
  return Uint32Array.from(runs);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
