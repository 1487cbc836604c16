// Where pixels lie on the screen: millimetres of the patient first, then zoom and pan.
//
// Axial panes show the plane of acquisition. Sagittal and coronal panes show columns or rows of all slices where
// they truly lie: a tilted gantry makes them slanted, uneven distances make strips of uneven height.
import type { Volume } from "./volume";

export type View = "axial" | "sagittal" | "coronal";
export type Place = { x: number; y: number; z: number };
/** `fitted`: nobody has zoomed or moved; `width`, `height`: the pane that it was made for. */
export type Zoom = { scale: number; dx: number; dy: number; fitted: boolean; width: number; height: number };
export const UNFITTED: Zoom = { scale: 1, dx: 0, dy: 0, fitted: true, width: 0, height: 0 };
/** a, b, c, d, e, f of a canvas transform. */
export type Matrix = [number, number, number, number, number, number];

export class Planes {
  private readonly along: { sagittal: number[]; coronal: number[] };
  /** By view: (u, v) in mm of the first pixel of every slice; v goes up. */
  private readonly starts: { sagittal: [number, number][]; coronal: [number, number][] };
  readonly even: boolean;

  constructor(readonly volume: Volume) {
    const { direction, spacing_mm, slice_positions_mm: at } = volume.page;
    const column = (k: number) => direction.map((row) => row[k]!);
    const [ex, ey] = [column(0), column(1)];
    const [, sy, sx] = spacing_mm;
    this.along = { sagittal: ey.map((v) => v * sy), coronal: ex.map((v) => v * sx) };
    this.starts = {
      sagittal: at.map((p) => [p[1], p[2]]),
      coronal: at.map((p) => [p[0], p[2]]),
    };
    const steps = at.slice(1).map((p, k) => Math.hypot(p[0] - at[k]![0], p[1] - at[k]![1], p[2] - at[k]![2]));
    const usual = [...steps].sort((a, b) => a - b)[steps.length >> 1] ?? 1;
    this.even = steps.every((s) => Math.abs(s - usual) < 0.02 * usual);
  }

  /** Pixels of a pane's picture. */
  size(view: View): [number, number] {
    const { depth, rows, columns } = this.volume;
    return view === "axial" ? [columns, rows] : [view === "sagittal" ? rows : columns, depth];
  }

  private step(view: "sagittal" | "coronal"): [number, number] {
    const e = this.along[view];
    return [view === "sagittal" ? e[1]! : e[0]!, e[2]!];
  }

  /** (u, v) in mm of a pixel of a pane; v goes down on the screen. */
  mm(view: View, place: Place): [number, number] {
    if (view === "axial") return [place.x * this.volume.page.spacing_mm[2], place.y * this.volume.page.spacing_mm[1]];
    const [su, sv] = this.step(view);
    const n = view === "sagittal" ? place.y : place.x;
    const [u, v] = this.start(view, place.z);
    return [u + n * su, -(v + n * sv)];
  }

  /** The first pixel of a (fractional) slice; beyond the ends it goes on evenly. */
  private start(view: "sagittal" | "coronal", z: number): [number, number] {
    const all = this.starts[view];
    if (all.length === 1) return [all[0]![0], all[0]![1] + z * this.volume.page.spacing_mm[0]];
    const low = Math.min(Math.max(Math.floor(z), 0), all.length - 2);
    const [a, b] = [all[low]!, all[low + 1]!];
    return [a[0] + (z - low) * (b[0] - a[0]), a[1] + (z - low) * (b[1] - a[1])];
  }

  /** The place under (u, v); what the pane does not show is taken from `cross`. */
  place(view: View, u: number, v: number, cross: Place): Place {
    const [sz, sy, sx] = this.volume.page.spacing_mm;
    if (view === "axial") return { x: u / sx, y: v / sy, z: cross.z };
    const [su, sv] = this.step(view);
    let best = { z: 0, n: 0, far: Infinity };
    for (let z = 0; z < this.volume.depth; z++) {
      const [u0, v0] = this.start(view, z);
      const n = (u - u0) / su;
      const far = Math.abs(-v - (v0 + n * sv));
      if (far < best.far) best = { z, n, far };
    }
    // Between slices the place is a fraction of the way to the neighbour.
    const [u0, v0] = this.start(view, best.z);
    const off = -v - (v0 + ((u - u0) / su) * sv);
    const z = best.z + Math.max(-0.5, Math.min(0.5, off / sz));
    return view === "sagittal" ? { x: cross.x, y: best.n, z } : { x: best.n, y: cross.y, z };
  }

  /** The extent of a pane in mm: left, top, right, bottom. */
  box(view: View): [number, number, number, number] {
    const [w, h] = this.size(view);
    const corners: [number, number][] =
      view === "axial"
        ? [this.mm(view, { x: -0.5, y: -0.5, z: 0 }), this.mm(view, { x: w - 0.5, y: h - 0.5, z: 0 })]
        : [-0.5, w - 0.5].flatMap((n) => [-0.5, h - 0.5].map((z) => this.mm(view, { x: n, y: n, z })));
    const us = corners.map((c) => c[0]), vs = corners.map((c) => c[1]);
    return [Math.min(...us), Math.min(...vs), Math.max(...us), Math.max(...vs)];
  }

  /** Canvas transforms that lay a pane's picture (row 0 = slice 0) down in mm: whole, or a strip a slice. */
  strips(view: View): { matrix: Matrix; top: number; rows: number }[] {
    const [w, h] = this.size(view);
    const make = (z0: number, z1: number, top: number, rows: number) => {
      const at = (n: number, z: number) => this.mm(view, view === "axial" ? { x: n, y: z, z: 0 } : { x: n, y: n, z });
      const [a, right, below] = [at(-0.5, z0), at(w - 0.5, z0), at(-0.5, z1)];
      const matrix: Matrix = [
        (right[0] - a[0]) / w, (right[1] - a[1]) / w,
        (below[0] - a[0]) / rows, (below[1] - a[1]) / rows, a[0], a[1],
      ];
      return { matrix, top, rows };
    };
    if (view === "axial" || this.even) return [make(-0.5, h - 0.5, 0, h)];
    return Array.from({ length: h }, (_, z) => make(z - 0.5, z + 0.5, z, 1));
  }
}

/** Zoom that shows a whole box in a pane of some pixels. */
export function fit(box: [number, number, number, number], width: number, height: number): Zoom {
  const scale = 0.96 * Math.min(width / (box[2] - box[0]), height / (box[3] - box[1]));
  return {
    scale,
    dx: width / 2 - (scale * (box[0] + box[2])) / 2,
    dy: height / 2 - (scale * (box[1] + box[3])) / 2,
    fitted: true,
    width,
    height,
  };
}
