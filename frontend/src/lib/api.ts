// Calls of the API: JSON in and out, the CSRF token with every change, problems as sentences.
export const BASE = "/api/v1";

export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const state = { csrf: "" };

export function setCsrf(token: string | null | undefined): void {
  state.csrf = token ?? "";
}

export function headers(): Record<string, string> {
  return state.csrf ? { "X-CSRF-Token": state.csrf } : {};
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers: body === undefined ? headers() : { ...headers(), "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, "offline");
  }
  return (await taken(answer)) as T;
}

export async function taken(answer: Response): Promise<unknown> {
  if (answer.ok) return answer.status === 204 ? undefined : await answer.json();
  let text = answer.statusText;
  try {
    const problem = (await answer.json()) as { detail?: string; errors?: { field: string; text: string }[] };
    text = problem.detail ?? text;
    for (const e of problem.errors ?? []) text += ` ${e.field}: ${e.text}.`;
  } catch {
    // no problem document: the status says it
  }
  throw new Problem(answer.status, text);
}

export const get = <T>(path: string) => call<T>("GET", path);
export const post = <T>(path: string, body?: unknown) => call<T>("POST", path, body);
export const put = <T>(path: string, body?: unknown) => call<T>("PUT", path, body);
export const remove = (path: string) => call<undefined>("DELETE", path);

export function query(values: Record<string, string | number | boolean | string[] | null | undefined>): string {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (Array.isArray(value)) for (const one of value) found.append(name, one);
    else if (value !== null && value !== undefined && value !== "" && value !== false) found.set(name, String(value));
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}
