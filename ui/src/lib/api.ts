// Calls of the dashboard's API. Every address is relative to the page.

import type {
  Attempt,
  Direction,
  ExecutionDetail,
  ExecutionPage,
  MigrationDetail,
  MigrationPage,
  Plan,
  Problem,
  Run,
  Session,
  StateEvent,
  Summary,
} from "./types.ts";

/** An ApiError is an answer that is not a success, or none at all (status 0, code "unreachable"). */
export class ApiError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

/** problemOf turns anything that was thrown into what a page can show. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return error.problem;
  const detail = error instanceof Error ? error.message : String(error);
  return { title: "Something unexpected happened", status: 0, code: "unexpected", detail };
}

const unreachable: Problem = {
  title: "The dashboard does not answer",
  status: 0,
  code: "unreachable",
  detail: "The process that serves this page may have ended, or the connection is gone.",
  hint: "Is aurora dashboard still running? This page tries again by itself.",
};

async function send(path: string, init: RequestInit): Promise<Response> {
  let res: Response;
  try {
    res = await fetch(`api/${path}`, { credentials: "same-origin", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(unreachable);
  }
  if (res.ok || res.status === 304) return res;
  let problem: Problem | undefined;
  try {
    problem = (await res.json()) as Problem;
  } catch {
    // Not from aurora: a proxy's page, for one. The status has to do.
  }
  throw new ApiError({
    title: `The server answered ${res.status}`,
    code: "http",
    detail: "The answer is not one of aurora's.",
    ...problem,
    status: res.status,
  });
}

async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const res = await send(path, { signal, headers: { Accept: "application/json" } });
  return (await res.json()) as T;
}

async function post<T>(path: string, csrf: string, body: unknown): Promise<T | undefined> {
  const res = await send(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Aurora-CSRF": csrf },
    body: JSON.stringify(body),
  });
  return res.status === 204 ? undefined : ((await res.json()) as T);
}

type Params = Record<string, string | number | undefined>;

/** path joins a path and its query; empty values are left out. */
export function path(base: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value !== undefined && value !== "") query.set(key, String(value));
  }
  const text = query.toString();
  return text ? `${base}?${text}` : base;
}

const id = encodeURIComponent;

export type MigrationFilter = {
  status?: string;
  kind?: string;
  q?: string;
  order?: string;
  cursor?: string;
  limit?: number;
};
export type PlanQuery = { direction: Direction; target?: string; through?: string; steps?: number };
export type Started = { executionId: string; direction: Direction; run: Run };
export type RunBody = {
  target?: string;
  expectedHead?: string;
  reason: string;
  confirm?: string;
  unsure?: "rerun" | "skip";
};

export const api = {
  session: (signal?: AbortSignal) => get<Session>("session", signal),
  signIn: (token: string) => post("session", "login", { token }),
  summary: (signal?: AbortSignal) => get<Summary>("migrations/summary", signal),
  migrations: (filter: MigrationFilter, signal?: AbortSignal) =>
    get<MigrationPage>(path("migrations", filter), signal),
  migration: (what: string, cursor?: string, signal?: AbortSignal) =>
    get<MigrationDetail>(path(`migrations/${id(what)}`, { cursor }), signal),
  attempt: (what: string, execution: string, signal?: AbortSignal) =>
    get<Attempt>(`migrations/${id(what)}/attempts/${id(execution)}`, signal),
  executions: (cursor?: string, limit?: number, signal?: AbortSignal) =>
    get<ExecutionPage>(path("executions", { cursor, limit }), signal),
  execution: (what: string, cursor?: string, signal?: AbortSignal) =>
    get<ExecutionDetail>(path(`executions/${id(what)}`, { cursor }), signal),
  plan: (query: PlanQuery, signal?: AbortSignal) => get<Plan>(path("plan", query), signal),
  start: (direction: Direction, csrf: string, body: RunBody) =>
    post<Started>(direction === "down" ? "rollback" : "up", csrf, body),
  /** poll returns nothing when the state is still the one of the etag. */
  poll: async (etag: string, signal?: AbortSignal): Promise<StateEvent | undefined> => {
    const headers: Record<string, string> = etag ? { "If-None-Match": `"${etag}"` } : {};
    const res = await send("events?poll=1", { signal, headers });
    return res.status === 304 ? undefined : ((await res.json()) as StateEvent);
  },
};
