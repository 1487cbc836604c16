// What the labelling tools do to the labels of one slice (uint8 [row, column]); nothing here draws or sends.
export type Plane = { rows: number; columns: number };
export type Point = { x: number; y: number };
export type Limits = {
  /** Only pixels whose HU lies in this band, both ends included; null: all. */
  band: readonly [number, number] | null;
  /** Leave other tissues alone. */
  spare: boolean;
};

/** The pixels of a disk (radius in pixels) moved along a line, each once. */
export function disk(plane: Plane, from: Point, to: Point, radius: number): number[] {
  const found: number[] = [];
  const r = Math.max(radius, 0.5);
  const [x0, x1] = [Math.min(from.x, to.x) - r, Math.max(from.x, to.x) + r];
  const [y0, y1] = [Math.min(from.y, to.y) - r, Math.max(from.y, to.y) + r];
  const dx = to.x - from.x, dy = to.y - from.y;
  const length2 = dx * dx + dy * dy;
  for (let y = Math.max(0, Math.ceil(y0)); y <= Math.min(plane.rows - 1, Math.floor(y1)); y++) {
    for (let x = Math.max(0, Math.ceil(x0)); x <= Math.min(plane.columns - 1, Math.floor(x1)); x++) {
      const along = length2 ? Math.min(1, Math.max(0, ((x - from.x) * dx + (y - from.y) * dy) / length2)) : 0;
      const px = x - from.x - along * dx, py = y - from.y - along * dy;
      if (px * px + py * py <= r * r) found.push(y * plane.columns + x);
    }
  }
  return found;
}

/** The pixels whose centre lies inside a closed outline (even-odd rule). */
export function inside(plane: Plane, outline: Point[]): number[] {
  const found: number[] = [];
  if (outline.length < 3) return found;
  const top = Math.max(0, Math.ceil(Math.min(...outline.map((p) => p.y))));
  const bottom = Math.min(plane.rows - 1, Math.floor(Math.max(...outline.map((p) => p.y))));
  for (let y = top; y <= bottom; y++) {
    const cuts: number[] = [];
    outline.forEach((a, k) => {
      const b = outline[(k + 1) % outline.length]!;
      if (a.y <= y !== b.y <= y) cuts.push(a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y));
    });
    cuts.sort((a, b) => a - b);
    for (let k = 0; k + 1 < cuts.length; k += 2) {
      const end = Math.min(plane.columns - 1, Math.floor(cuts[k + 1]!));
      for (let x = Math.max(0, Math.ceil(cuts[k]!)); x <= end; x++) found.push(y * plane.columns + x);
    }
  }
  return found;
}

/** The connected pixels (four neighbours) of one label around a seed, within the band. */
export function region(plane: Plane, labels: Uint8Array, hu: Int16Array, seed: number, limits: Limits): number[] {
  const label = labels[seed]!;
  const fits = (i: number) => labels[i] === label && within(hu[i]!, limits.band);
  if (!fits(seed)) return [];
  const seen = new Uint8Array(labels.length);
  const found = [seed];
  seen[seed] = 1;
  for (let n = 0; n < found.length; n++) {
    const i = found[n]!, x = i % plane.columns;
    const next = [x > 0 ? i - 1 : -1, x < plane.columns - 1 ? i + 1 : -1, i - plane.columns, i + plane.columns];
    for (const j of next) {
      if (j >= 0 && j < labels.length && !seen[j] && fits(j)) {
        seen[j] = 1;
        found.push(j);
      }
    }
  }
  return found;
}

function within(hu: number, band: readonly [number, number] | null): boolean {
  return band === null || (hu >= band[0] && hu <= band[1]);
}

/** Give pixels a label; returns how many changed. */
export function paint(labels: Uint8Array, hu: Int16Array, pixels: number[], label: number, limits: Limits): number {
  let changed = 0;
  for (const i of pixels) {
    const old = labels[i]!;
    if (old === label || !within(hu[i]!, limits.band) || (limits.spare && old !== 0 && label !== 0)) continue;
    labels[i] = label;
    changed++;
  }
  return changed;
}

/** Give every labelled pixel of an outline another label. */
export function relabel(labels: Uint8Array, hu: Int16Array, pixels: number[], label: number, limits: Limits): number {
  let changed = 0;
  for (const i of pixels) {
    if (labels[i] !== 0 && labels[i] !== label && within(hu[i]!, limits.band)) {
      labels[i] = label;
      changed++;
    }
  }
  return changed;
}

/** Signed distance (pixels, chamfer 3-4) to the border of a set of pixels: inside negative. */
function signed(plane: Plane, set: Uint8Array): Float32Array {
  const outside = distance(plane, (i) => set[i] === 1);
  const within_ = distance(plane, (i) => set[i] !== 1);
  for (let i = 0; i < outside.length; i++) outside[i] = outside[i]! - within_[i]!;
  return outside;
}

function distance(plane: Plane, is: (i: number) => boolean): Float32Array {
  const { rows, columns } = plane;
  const far = 1e6;
  const d = new Float32Array(rows * columns);
  for (let i = 0; i < d.length; i++) d[i] = is(i) ? 0 : far;
  const near = (i: number, j: number, step: number) => {
    if (d[j]! + step < d[i]!) d[i] = d[j]! + step;
  };
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++) {
      const i = y * columns + x;
      if (x > 0) near(i, i - 1, 1);
      if (y > 0) near(i, i - columns, 1);
      if (x > 0 && y > 0) near(i, i - columns - 1, 4 / 3);
      if (x < columns - 1 && y > 0) near(i, i - columns + 1, 4 / 3);
    }
  for (let y = rows - 1; y >= 0; y--)
    for (let x = columns - 1; x >= 0; x--) {
      const i = y * columns + x;
      if (x < columns - 1) near(i, i + 1, 1);
      if (y < rows - 1) near(i, i + columns, 1);
      if (x < columns - 1 && y < rows - 1) near(i, i + columns + 1, 4 / 3);
      if (x > 0 && y < rows - 1) near(i, i + columns - 1, 4 / 3);
    }
  return d;
}

/** The pixels of a set on a slice between two others, by the weighted mean of their signed distances. */
export function between(plane: Plane, below: Uint8Array, above: Uint8Array, share: number): number[] {
  const a = signed(plane, below), b = signed(plane, above);
  const found: number[] = [];
  for (let i = 0; i < a.length; i++) if (a[i]! * (1 - share) + b[i]! * share < 0) found.push(i);
  return found;
}
