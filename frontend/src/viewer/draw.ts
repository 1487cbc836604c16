// Pictures of a plane: grey values through a window, labels as colours or outlines.
import type { View, Place } from "./planes";
import type { Volume } from "./volume";

export type Window = { centre: number; width: number };
export type Style = { opacity: number; outline: boolean; shown: boolean };
export type Colours = Record<number, readonly [number, number, number]>;
export const PRESETS: Record<string, Window> = {
  abdomen: { centre: 40, width: 400 },
  muscle: { centre: 40, width: 250 },
  fat: { centre: -80, width: 200 },
  bone: { centre: 400, width: 1500 },
  lung: { centre: -500, width: 1500 },
};

/** Where the pixels of a pane lie in a slice: start, step along the pane's columns. */
function walk(view: "sagittal" | "coronal", volume: Volume, cross: Place): [number, number, number] {
  const x = clamp(Math.round(cross.x), volume.columns), y = clamp(Math.round(cross.y), volume.rows);
  return view === "sagittal" ? [x, volume.columns, volume.rows] : [y * volume.columns, 1, volume.columns];
}

export function clamp(value: number, count: number): number {
  return Math.min(Math.max(value, 0), count - 1);
}

/** Grey picture of a pane; slices that have not arrived are black. */
export function grey(image: ImageData, view: View, volume: Volume, cross: Place, window: Window): void {
  const out = new Uint32Array(image.data.buffer);
  const low = window.centre - window.width / 2, scale = 255 / window.width;
  const tone = (hu: number) => {
    const v = Math.min(255, Math.max(0, (hu - low) * scale)) | 0;
    return 0xff000000 | (v << 16) | (v << 8) | v;
  };
  if (view === "axial") {
    const hu = volume.slice(clamp(Math.round(cross.z), volume.depth));
    for (let i = 0; i < out.length; i++) out[i] = tone(hu[i]!);
    return;
  }
  const [start, step, count] = walk(view, volume, cross);
  for (let z = 0, o = 0; z < volume.depth; z++) {
    const hu = volume.slice(z), there = volume.has(z);
    for (let n = 0, i = start; n < count; n++, i += step) out[o++] = there ? tone(hu[i]!) : 0xff000000;
  }
}

/** Labels of a pane, row 0 = slice 0 in reformatted panes. */
export function plane(view: View, volume: Volume, slices: ReadonlyMap<number, Uint8Array>, cross: Place): Uint8Array {
  if (view === "axial") {
    return slices.get(clamp(Math.round(cross.z), volume.depth)) ?? new Uint8Array(volume.rows * volume.columns);
  }
  const [start, step, count] = walk(view, volume, cross);
  const out = new Uint8Array(volume.depth * count);
  for (const [z, labels] of slices) {
    for (let n = 0, i = start, o = z * count; n < count; n++, i += step) out[o++] = labels[i]!;
  }
  return out;
}

/** Colours of labels; an outline is the pixels that touch another label. */
export function colour(image: ImageData, labels: Uint8Array, colours: Colours, style: Style): void {
  const out = new Uint32Array(image.data.buffer);
  out.fill(0);
  const width = image.width;
  const alpha = Math.round(255 * (style.outline ? Math.max(style.opacity, 0.6) : style.opacity)) << 24;
  const packed: Record<number, number> = {};
  for (const [value, [r, g, b]] of Object.entries(colours)) packed[Number(value)] = alpha | (b << 16) | (g << 8) | r;
  for (let i = 0; i < labels.length; i++) {
    const v = labels[i]!;
    if (!v) continue;
    if (style.outline && labels[i - 1] === v && labels[i + 1] === v && labels[i - width] === v && labels[i + width] === v)
      continue;
    out[i] = packed[v] ?? 0;
  }
}

/** Two versions: only in the first, only in the second, or another tissue in both. */
export function contrast(image: ImageData, first: Uint8Array, second: Uint8Array): void {
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < out.length; i++) {
    const a = first[i] ?? 0, b = second[i] ?? 0;
    out[i] = a === b ? 0 : !b ? 0xd070ff4c : !a ? 0xd0e64cff : 0xd030d5ff;
  }
}

/** Mean, SD and count of HU. */
export function statistics(hu: Int16Array, pixels: number[]): { mean: number; sd: number; n: number } {
  let sum = 0, squares = 0;
  for (const i of pixels) {
    sum += hu[i]!;
    squares += hu[i]! * hu[i]!;
  }
  const n = pixels.length, mean = n ? sum / n : 0;
  return { mean, sd: n ? Math.sqrt(Math.max(0, squares / n - mean * mean)) : 0, n };
}
