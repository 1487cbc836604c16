// What every page shares: who is signed in, language, theme, where we are.
import type { Me } from "../generated";
import { get, put, setCsrf } from "./api";

export type Lang = "en" | "ko";

export const app = $state({
  me: null as Me | null,
  ready: false,
  lang: (localStorage.getItem("lang") as Lang | null) ?? (navigator.language.startsWith("ko") ? "ko" : ("en" as Lang)),
  theme: localStorage.getItem("theme") ?? "auto",
  words: {} as Record<string, string>,
  path: location.pathname,
  search: location.search,
  notice: "",
});

export function t(code: string, values: Record<string, string | number> = {}): string {
  const text = app.words[code] ?? code;
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

export async function loadWords(lang: Lang): Promise<void> {
  app.words = await get<Record<string, string>>(`/catalogue/${lang}`);
  app.lang = lang;
  localStorage.setItem("lang", lang);
  document.documentElement.lang = lang;
}

export async function chooseLanguage(lang: Lang): Promise<void> {
  await loadWords(lang);
  if (app.me && !app.me.must_change) await put("/me/language", { language: lang });
}

export function chooseTheme(theme: string): void {
  app.theme = theme;
  localStorage.setItem("theme", theme);
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export async function loadMe(): Promise<void> {
  try {
    app.me = await get<Me>("/me");
    setCsrf(app.me.csrf);
  } catch {
    app.me = null;
    setCsrf(null);
  }
}

export function go(path: string): void {
  history.pushState(null, "", path);
  app.path = location.pathname;
  app.search = location.search;
  window.scrollTo(0, 0);
}

window.addEventListener("popstate", () => {
  app.path = location.pathname;
  app.search = location.search;
});

export function link(event: MouseEvent): void {
  const anchor = (event.target as HTMLElement).closest("a");
  if (!anchor || anchor.origin !== location.origin || anchor.hasAttribute("download")) return;
  if (anchor.pathname.startsWith("/api") || anchor.target || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(anchor.pathname + anchor.search);
}

let clear = 0;
export function tell(text: string): void {
  app.notice = text;
  window.clearTimeout(clear);
  clear = window.setTimeout(() => (app.notice = ""), 8000);
}

export function failed(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  tell(text === "offline" ? t("ui_offline") : text);
}
