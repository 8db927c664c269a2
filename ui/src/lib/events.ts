// How the page learns that something changed: server-sent events where the
// server speaks them, else asking again and again. What an event means is
// decided in two pure functions, reduce and staleKeys.

import { api, problemOf } from "./api.ts";
import type { Run, Session, StateEvent } from "./types.ts";

export type Link = "connecting" | "live" | "polling" | "offline" | "signed-out";

/** Live is what is known besides what the pages fetch. */
export type Live = {
  link: Link;
  etag: string;
  head: string;
  /** The run that this dashboard started last. */
  run?: Run;
  /** When the server was lost, on this browser's clock, while it is. */
  lostAt?: number;
  /** The server's clock minus this browser's, in milliseconds. */
  skew: number;
};

export const initial: Live = { link: "connecting", etag: "", head: "", skew: 0 };

export type Change =
  | { kind: "link"; link: Link; at: number }
  /** A stream began: what happened before it is not told again. */
  | { kind: "opened" }
  | { kind: "state"; event: StateEvent; at: number }
  | { kind: "progress"; run: Run };

/** reduce returns what is known after a change. It returns the same object where nothing changed. */
export function reduce(live: Live, change: Change): Live {
  switch (change.kind) {
    case "link":
      if (change.link === live.link) return live;
      return { ...live, link: change.link, lostAt: change.link === "offline" ? change.at : undefined };
    case "opened":
      return { ...live, link: "live", etag: "", lostAt: undefined };
    case "state": {
      const { event, at } = change;
      const server = Date.parse(event.now);
      // Small differences are the network's, and would make times jump.
      const skew = Number.isNaN(server) || Math.abs(server - at) < 2000 ? 0 : server - at;
      const run = newer(live.run, event.summary.run);
      return { ...live, etag: event.etag, head: event.head, run, skew };
    }
    case "progress":
      return { ...live, run: newer(live.run, change.run) };
  }
}

// An ended run never goes on: a late message about it must not bring it back.
function newer(old: Run | undefined, next: Run | undefined): Run | undefined {
  if (!next) return old;
  if (old?.executionId === next.executionId && old.endedAt && !next.endedAt) return old;
  return next;
}

/** A key of the query cache, or the beginning of one. */
export type Key = readonly string[];

/** staleKeys says what to fetch again after a state event. The first one after a gap means everything. */
export function staleKeys(previous: Live, event: StateEvent): Key[] {
  if (event.etag === previous.etag) return [];
  if (previous.etag === "" || event.many)
    return [["migrations"], ["migration"], ["executions"], ["execution"]];
  return [
    ["migrations"],
    ["executions"],
    ...event.migrations.map((id) => ["migration", id] as const),
    ...event.executions.map((id) => ["execution", id] as const),
  ];
}

const pollEvery = 3000;
const slowest = 15_000;
/** How long to ask again and again before a stream is tried anew. */
const pollFor = 30_000;
/** So many errors in a row without an event mean that a proxy does not let the stream through. */
const patience = 3;

type Listener = (change: Change) => void;

/** connect follows the server until stop is called, and hands every change to the listener. */
export function connect(session: Session, listener: Listener): () => void {
  const stopping = new AbortController();
  const { signal } = stopping;
  const streams = session.events === "sse" && typeof EventSource !== "undefined";
  void (async () => {
    while (!signal.aborted) {
      if (streams) await stream(listener, signal);
      if (!(await poll(listener, signal, streams ? pollFor : Number.POSITIVE_INFINITY))) return;
    }
  })();
  return () => stopping.abort();
}

/** stream reads events until they do not come any more. */
function stream(listener: Listener, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const source = new EventSource("api/events");
    let errors = 0;
    const end = () => {
      source.close();
      resolve();
    };
    signal.addEventListener("abort", end);
    source.addEventListener("open", () => listener({ kind: "opened" }));
    source.addEventListener("state", (message) => {
      errors = 0;
      const event = parse<StateEvent>(message);
      if (event) listener({ kind: "state", event, at: Date.now() });
    });
    source.addEventListener("progress", (message) => {
      const run = parse<Run>(message);
      if (run) listener({ kind: "progress", run });
    });
    source.addEventListener("error", () => {
      errors++;
      if (source.readyState === EventSource.CLOSED || errors >= patience) end();
      else listener({ kind: "link", link: "offline", at: Date.now() });
    });
  });
}

function parse<T>(message: Event): T | undefined {
  try {
    return JSON.parse((message as MessageEvent<string>).data) as T;
  } catch {
    return undefined; // cut off in the middle; the next one tells again
  }
}

/** poll asks for a while. It returns false when there is no more to ask for. */
async function poll(listener: Listener, signal: AbortSignal, forMs: number): Promise<boolean> {
  const until = Date.now() + forMs;
  let etag = "";
  let wait = pollEvery;
  while (!signal.aborted && Date.now() < until) {
    try {
      const event = await api.poll(etag, signal);
      wait = pollEvery;
      listener({ kind: "link", link: "polling", at: Date.now() });
      if (event) {
        etag = event.etag;
        listener({ kind: "state", event, at: Date.now() });
      }
    } catch (error) {
      if (signal.aborted) return false;
      if (problemOf(error).code === "unauthorized") {
        listener({ kind: "link", link: "signed-out", at: Date.now() });
        return false;
      }
      wait = Math.min(slowest, wait * 1.5);
      listener({ kind: "link", link: "offline", at: Date.now() });
    }
    await sleep(document.hidden ? slowest : wait, signal);
  }
  return !signal.aborted;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
