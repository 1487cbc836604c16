// Options of the charts of a cohort, from the tables that came out of it.
import type { EChartsCoreOption } from "echarts/core";
import type { CohortTable } from "../generated";

export type Row = Record<string, string>;
export const COLOURS = ["#3d7fc4", "#d97a1c", "#2f9e73", "#b0578d", "#c9a227", "#6b7280", "#8b5cf6", "#d1495b"];
type Bar = { value: number; low: number; high: number; n: number; small: boolean };

export function rowsOf(table: CohortTable): Row[] {
  return table.rows.map((cells) => Object.fromEntries(table.columns.map((name, k) => [name, cells[k] ?? ""])));
}

export function distinct(rows: Row[], name: string): string[] {
  return [...new Set(rows.map((r) => r[name] ?? ""))];
}

function plain(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function frame(ink: string, x: string[], y: string, name = ""): EChartsCoreOption {
  const text = { color: ink };
  return {
    grid: { left: 56, right: 14, top: 40, bottom: 40 },
    legend: { top: 0, textStyle: text },
    xAxis: { type: "category", data: x, name, nameLocation: "middle", nameGap: 26, axisLabel: text, nameTextStyle: text },
    yAxis: { type: "value", name: y, axisLabel: text, nameTextStyle: text, scale: y !== "%", min: y === "%" ? 0 : undefined },
  };
}

/** Boxes of an index by decade; the ends are the least and the greatest value. */
export function boxes(rows: Row[], groups: [string, string][], decades: string[], unit: string) {
  return (ink: string): EChartsCoreOption => ({
    ...frame(ink, decades, unit),
    tooltip: {},
    series: groups.map(([group, title], k) => ({
      type: "boxplot", name: title, itemStyle: { color: "transparent", borderColor: COLOURS[k % COLOURS.length] }, color: COLOURS[k % COLOURS.length],
      data: decades.map((decade) => {
        const row = rows.find((r) => r.group === group && r.decade === decade);
        return row?.median ? ["minimum", "q1", "median", "q3", "maximum"].map((name) => Number(row[name])) : [];
      }),
    })),
  });
}

/** Bars of shares in per cent with their intervals; few people are hollow. */
export function bars(found: (group: string, decade: string) => Bar | null, groups: [string, string][], decades: string[]) {
  // The axis holds every interval.
  const top = Math.max(5, ...groups.flatMap(([group]) => decades.map((d) => 100 * (found(group, d)?.high ?? 0))));
  return (ink: string): EChartsCoreOption => ({
    ...frame(ink, decades, "%"),
    yAxis: { type: "value", name: "%", min: 0, max: Math.min(100, Math.ceil(top / 10) * 10), axisLabel: { color: ink }, nameTextStyle: { color: ink } },
    tooltip: {},
    series: groups.flatMap(([group, title], k) => {
      const colour = COLOURS[k % COLOURS.length]!;
      const all = decades.map((d) => found(group, d));
      return [
        {
          type: "bar", name: title, color: colour, barGap: "10%",
          data: all.map((b) => (b ? { value: 100 * b.value, itemStyle: b.small ? { color: "transparent", borderColor: colour, borderType: "dashed" } : {} } : null)),
          tooltip: { formatter: ({ dataIndex: i }: { dataIndex: number }) => { const b = all[i]; return b ? `${plain(title)}, ${decades[i]}<br>${(100 * b.value).toFixed(1)} % (${(100 * b.low).toFixed(1)} – ${(100 * b.high).toFixed(1)}), n = ${b.n}` : ""; } },
        },
        {
          type: "custom", name: title, silent: true, z: 5, tooltip: { show: false },
          data: all.map((b, i) => (b ? [i, 100 * b.low, 100 * b.high] : [i, NaN, NaN])),
          renderItem: (_: unknown, api: { value: (n: number) => number; coord: (v: number[]) => number[]; barLayout: (o: object) => { offsetCenter: number }[] }) => {
            const [i, low, high] = [api.value(0), api.value(1), api.value(2)];
            if (Number.isNaN(low)) return null;
            const offset = api.barLayout({ count: groups.length, barGap: "10%" })[k]?.offsetCenter ?? 0;
            const [a, b] = [api.coord([i, low]), api.coord([i, high])];
            return { type: "line", shape: { x1: a[0]! + offset, y1: a[1], x2: b[0]! + offset, y2: b[1] }, style: { stroke: ink, lineWidth: 1.2 } };
          },
        },
      ];
    }),
  });
}

/** Steps over time, with their intervals in the tip. */
export function steps(rows: Row[], groups: [string, string][], unit: string, y: string) {
  return (ink: string): EChartsCoreOption => ({
    ...frame(ink, [], y, unit),
    xAxis: { type: "value", min: 0, name: unit, nameLocation: "middle", nameGap: 26, axisLabel: { color: ink }, nameTextStyle: { color: ink } },
    yAxis: { type: "value", min: 0, max: 100, name: y, axisLabel: { color: ink }, nameTextStyle: { color: ink } },
    tooltip: { trigger: "axis", valueFormatter: (v: unknown) => `${Number(v).toFixed(1)} %` },
    series: groups.map(([group, title], k) => {
      const own = rows.filter((r) => r.muscle === group);
      const from = own[0]?.curve === "survival" ? 100 : 0;
      return {
        type: "line", step: "end", name: title, color: COLOURS[k % COLOURS.length], symbol: "none",
        data: [[0, from], ...own.map((r) => [Number(r.time), 100 * Number(r.value)])],
      };
    }),
  });
}
