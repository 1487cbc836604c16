// The short words of the worklist.
import { app, t } from "./app.svelte";

/** What a key means as a shortcut: its letter on the keyboard also where another script is being typed. */
export function letter(event: KeyboardEvent): string {
  const foreign = event.key === "Process" || (event.key.length === 1 && event.key > "~");
  if (foreign && event.code.startsWith("Key")) return event.code.slice(3).toLowerCase();
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

export function shortResult(result: string, p0: boolean): string {
  if (!result) return "";
  if (p0) {
    if (result === "class_2" || result === "class_1") return t(`ui_p0_${result}`);
    if (result === "not_class_2" || result === "not_low") return t("ui_p0_normal");
  }
  return t(`ui_short_${result}`);
}

export function tone(result: string): string {
  if (result === "class_2" || result === "low") return "warning";
  if (result === "class_1" || result === "indeterminate") return "caution";
  return "";
}

export function number(value: number | null | undefined, digits = 1): string {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

/** A point in time as the page's language writes it, 24 hours; not as the browser's country does. */
export function moment(text: string | null | undefined): string {
  if (!text) return "–";
  return new Date(text).toLocaleString(app.lang === "ko" ? "ko-KR" : "en-GB", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
}
