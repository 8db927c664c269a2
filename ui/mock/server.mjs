// A stand-in for the dashboard's API, to work on the pages without a database.
// It serves dist and made-up answers: node mock/server.mjs [scenario] [port].

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { build } from "./data.mjs";

const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** serve starts a server for one scenario and returns it once it listens. */
export function serve(scenario, port = 0, overrides = {}) {
  const state = { ...build(scenario), scenario, overrides, run: undefined, head: "7.1.completed" };
  const server = createServer((req, res) => {
    answer(state, req, res).catch((error) => {
      res.writeHead(500).end(String(error.stack));
    });
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

async function answer(state, req, res) {
  const url = new URL(req.url, "http://x");
  if (!url.pathname.startsWith("/api/")) return file(url.pathname, res);
  const send = (body, status = 200) => {
    res.writeHead(status, { "Content-Type": status < 400 ? "application/json" : "application/problem+json" });
    res.end(body === undefined ? "" : JSON.stringify(body));
  };
  const path = decodeURIComponent(url.pathname.slice(5));
  const q = url.searchParams;
  if (path === "session") {
    if (state.overrides.login)
      return send(
        {
          title: "Sign in",
          status: 401,
          code: "unauthorized",
          detail: "no session",
          login: state.overrides.login,
        },
        401,
      );
    return send(session(state));
  }
  if (state.overrides.down)
    return send(
      {
        title: "The database does not answer",
        status: 503,
        code: "store_unavailable",
        detail: "dial tcp 10.0.0.7:5432: connect: connection refused",
        hint: "Is it running, and may this host reach it?",
      },
      503,
    );
  if (path === "events") return events(state, req, res);
  if (path === "migrations/summary") return send(summary(state));
  if (path === "migrations") return send(migrations(state, q));
  if (path === "plan") return send(plan(state, q));
  if (path === "executions") {
    const from = Number(q.get("cursor") || 0);
    const limit = Number(q.get("limit") || 20);
    const next = from + limit < state.runs.length ? String(from + limit) : "";
    return send({ executions: state.runs.slice(from, from + limit).map((r) => execution(state, r)), next });
  }
  let m = /^executions\/(.+)$/.exec(path);
  if (m) {
    const run = state.runs.find((r) => r.id === m[1]);
    if (!run)
      return send(
        { title: "Not found", status: 404, code: "not_found", detail: `there is no execution ${m[1]}` },
        404,
      );
    return send({
      execution: execution(state, run),
      migrations: attemptsOf(state, run.id).reverse(),
      next: "",
    });
  }
  m = /^migrations\/(.+)\/attempts\/(.+)$/.exec(path);
  if (m) return send(state.attempts.find((a) => a.id === m[1] && a.executionId === m[2]));
  m = /^migrations\/(.+)$/.exec(path);
  if (m) {
    if (!state.ids.includes(m[1]))
      return send(
        {
          title: "Not found",
          status: 404,
          code: "not_found",
          detail: `there is no migration ${m[1]}, neither as a file nor in the history`,
        },
        404,
      );
    const sql = (state.sources[m[1]] ?? ["SELECT 1;"]).map((text, index) => ({
      index,
      sql: text,
      state: "pending",
      go: m[1].includes("backfill"),
    }));
    return send({
      migration: migration(state, m[1]),
      description: m[1].includes("unique_email") ? state.description : undefined,
      statements: { up: sql, down: sql.slice(0, 1) },
      attempts: state.attempts.filter((a) => a.id === m[1]),
      next: "",
      head: state.head,
    });
  }
  if (path === "rollback" || path === "up") return start(state, path, send);
  return send({ title: "Not found", status: 404, code: "not_found", detail: path }, 404);
}

function start(state, path, send) {
  if (state.overrides.moved)
    return send(
      {
        title: "The history moved",
        status: 409,
        code: "head_moved",
        detail: "it was 7.1, and is 8.1 now",
        head: "8.1.completed",
      },
      409,
    );
  const run = {
    executionId: state.runs[0]?.id ?? "x",
    direction: path === "up" ? "up" : "down",
    state: "completed",
    startedAt: new Date().toISOString(),
    endedAt: new Date().toISOString(),
    planned: 1,
    completed: 1,
  };
  return send({ executionId: run.executionId, direction: run.direction, run }, 202);
}

async function file(path, res) {
  const name = normalize(path === "/" ? "/index.html" : path);
  try {
    const body = await readFile(join(import.meta.dirname, "../dist", name));
    res.writeHead(200, {
      "Content-Type": types[extname(name)] ?? "application/octet-stream",
      "Content-Security-Policy": csp,
    });
    res.end(body);
  } catch {
    res.writeHead(404).end("not found");
  }
}

function session({ overrides, scenario }) {
  return {
    project: "shop",
    env: "production",
    protected: true,
    readOnly: false,
    store: "postgres",
    target: "postgres://app@db.example.com/shop",
    csrf: "mock",
    events: "sse",
    knowsFiles: true,
    runtime: "local",
    version: "v0.9.0",
    now: new Date().toISOString(),
    ...(scenario === "running" ? { protected: false, env: "staging" } : {}),
    ...overrides.session,
  };
}

const attemptsOf = (state, id) =>
  state.attempts
    .filter((a) => a.executionId === id)
    .map(({ output, statements, checkpoint, description, ...a }) => a);

function execution(state, run) {
  const list = attemptsOf(state, run.id).reverse();
  const bad = list.find((a) => a.state !== "completed");
  const n = (s) => list.filter((a) => a.state === s).length;
  const ended = bad?.state === "running" ? undefined : list.at(-1).finishedAt;
  return {
    id: run.id,
    direction: list[0].direction,
    state: bad?.state ?? "completed",
    startedAt: list[0].startedAt,
    endedAt: ended,
    durationMs: ended && Date.parse(ended) - Date.parse(list[0].startedAt),
    holder: list[0].holder,
    operator: "aurora v0.9.0",
    reason: run.reason,
    counts: {
      total: list.length,
      completed: n("completed"),
      failed: n("failed"),
      running: n("running"),
      paused: 0,
      interrupted: 0,
    },
    first: list[0].id,
    last: list.at(-1).id,
    error: bad?.error,
    errorMigration: bad?.error && bad.id,
  };
}

function migration(state, id) {
  const a = state.attempts.find((x) => x.id === id);
  const i = id.indexOf("_");
  const drop = id.includes("drop_legacy");
  const m = {
    id,
    version: id.slice(0, i),
    name: id.slice(i + 1),
    status: "pending",
    language: id.includes("backfill") ? "go" : "sql",
    source: `migrations/${id}.sql`,
    reversible: !drop,
    irreversible: drop ? "the column's values are gone for good" : undefined,
    statements: (state.sources[id] ?? [1]).length,
  };
  if (!a) return m;
  const status = a.state === "completed" ? (a.direction === "down" ? "rolled_back" : "applied") : a.state;
  const {
    state: s,
    direction,
    executionId,
    startedAt,
    finishedAt,
    durationMs,
    steps,
    done,
    error,
    holder,
    operator,
    kind,
    progress,
  } = a;
  return {
    ...m,
    status,
    state: s,
    direction,
    executionId,
    startedAt,
    finishedAt,
    durationMs,
    steps,
    done,
    error,
    holder,
    operator,
    kind,
    progress,
    edited: state.scenario === "healthy" && id.includes("add_plan"),
  };
}

function summary(state) {
  const all = state.ids.map((id) => migration(state, id));
  const n = (...s) => all.filter((m) => s.includes(m.status)).length;
  const running = all.find((m) => m.status === "running");
  return {
    pending: n("pending", "rolled_back"),
    completed: n("applied"),
    failed: n("failed"),
    total: all.length,
    running: n("running"),
    paused: 0,
    interrupted: 0,
    rolledBack: n("rolled_back"),
    outOfOrder: 0,
    covered: 0,
    edited: all.filter((m) => m.edited).length,
    missing: 0,
    ahead: 0,
    ready: n("applied") === all.length,
    current: all.filter((m) => m.status === "applied").at(-1)?.id ?? "",
    head: state.head,
    lock: running
      ? {
          held: true,
          holder: running.holder,
          token: 7,
          expiresAt: new Date(Date.now() + 21_000).toISOString(),
        }
      : { held: false },
    active: all.filter((m) => ["running", "failed", "paused", "interrupted"].includes(m.status)),
    knowsFiles: true,
    now: new Date().toISOString(),
  };
}

const groups = {
  completed: ["applied", "missing", "ahead"],
  pending: ["pending", "rolled_back", "out_of_order"],
};

function migrations(state, q) {
  let all = state.ids.map((id) => migration(state, id));
  const status = (q.get("status") ?? "")
    .split(",")
    .filter(Boolean)
    .flatMap((s) => groups[s] ?? [s]);
  if (status.includes("edited")) all = all.filter((m) => m.edited);
  else if (status.length) all = all.filter((m) => status.includes(m.status));
  if (q.get("kind")) all = all.filter((m) => m.language === q.get("kind") || m.kind === q.get("kind"));
  for (const word of (q.get("q") ?? "").toLowerCase().split(/\s+/))
    all = all.filter((m) => `${m.id} ${m.error}`.toLowerCase().includes(word));
  if (q.get("order") !== "asc") all.reverse();
  const from = Number(q.get("cursor") || 0);
  const limit = Number(q.get("limit") || 50);
  return {
    migrations: all.slice(from, from + limit),
    next: from + limit < all.length ? String(from + limit) : "",
    total: all.length,
    head: state.head,
  };
}

function plan(state, q) {
  const direction = q.get("direction");
  const all = state.ids.map((id) => migration(state, id));
  const item = (m) => ({
    id: m.id,
    version: m.version,
    name: m.name,
    direction,
    steps: 1,
    language: m.language,
    irreversible: direction === "down" ? m.irreversible : undefined,
    statements: [
      {
        sql: direction === "down" ? `DROP VIEW ${m.name};` : (state.sources[m.id]?.[0] ?? "SELECT 1;"),
        go: m.language === "go",
      },
    ],
  });
  const applied = all.filter((m) => m.status === "applied");
  if (direction === "up") {
    const items = all.filter((m) => m.status !== "applied").map(item);
    return {
      direction,
      head: state.head,
      current: "1",
      target: items.at(-1)?.version ?? "",
      targetId: items.at(-1)?.id,
      count: items.length,
      items,
      possible: items.length > 0,
      needsReason: true,
    };
  }
  const from = q.get("through") ? applied.findIndex((m) => m.id === q.get("through")) : applied.length - 1;
  const items = applied.slice(from).reverse().map(item);
  if (state.overrides.irreversible && items[1])
    items[1].irreversible = "the column's values are gone for good";
  const one = items.find((i) => i.irreversible);
  const stays = applied[from - 1];
  return {
    direction,
    head: state.head,
    current: applied.at(-1)?.version,
    target: stays?.version ?? "0",
    targetId: stays?.id,
    count: items.length,
    items,
    possible: !one,
    blocked: one && {
      title: "It cannot be undone",
      status: 409,
      code: "irreversible",
      detail: `${one.id}: ${one.irreversible}`,
    },
    confirm: items.at(-1)?.id,
    needsReason: true,
  };
}

function events(state, req, res) {
  const data = JSON.stringify({
    etag: "1",
    head: state.head,
    summary: summary(state),
    migrations: [],
    executions: [],
    now: new Date().toISOString(),
  });
  if (req.url.includes("poll=1")) {
    if (req.headers["if-none-match"] === '"1"') return res.writeHead(304).end();
    res.writeHead(200, { "Content-Type": "application/json" });
    return res.end(data);
  }
  res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  res.write(`retry: 3000\nid: 1\nevent: state\ndata: ${data}\n\n`);
  const timer = setInterval(() => res.write(": still here\n\n"), 15_000);
  req.on("close", () => clearInterval(timer));
}

if (process.argv[1] === import.meta.filename) {
  const [scenario = "failed", port = "3102"] = process.argv.slice(2);
  const server = await serve(scenario, Number(port));
  console.log(`http://127.0.0.1:${server.address().port}/ serves ${scenario}`);
}
