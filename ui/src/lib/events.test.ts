import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Change, connect, initial, type Live, reduce, staleKeys } from "./events.ts";
import type { Run, Session, StateEvent, Summary } from "./types.ts";

const summary = { head: "7.1.completed" } as Summary;
const at = Date.parse("2026-11-22T04:00:00Z");
const event: StateEvent = {
  etag: "a",
  head: "7.1.completed",
  summary,
  migrations: ["1_a"],
  executions: ["e1"],
  now: "2026-11-22T04:00:00.4Z",
};
const run: Run = { executionId: "e1", direction: "up", state: "running", startedAt: "2026-11-22T03:59:00Z" };

describe("reduce", () => {
  it("takes head and etag from a state", () => {
    const live = reduce(initial, { kind: "state", event, at });
    expect(live).toMatchObject({ etag: "a", head: "7.1.completed", skew: 0 });
  });

  it("corrects a clock that is wrong, and leaves one that is nearly right alone", () => {
    expect(reduce(initial, { kind: "state", event, at: at - 3_600_000 }).skew).toBe(3_600_400);
    expect(reduce(initial, { kind: "state", event, at: at - 1500 }).skew).toBe(0);
    expect(reduce(initial, { kind: "state", event: { ...event, now: "?" }, at }).skew).toBe(0);
  });

  it("keeps what a run said when a state says nothing about it", () => {
    const live = reduce(initial, { kind: "progress", run });
    expect(reduce(live, { kind: "state", event, at }).run).toBe(run);
  });

  it("does not let a late message bring an ended run back", () => {
    const ended = { ...run, state: "failed" as const, endedAt: "2026-11-22T04:00:00Z" };
    const live = reduce(initial, { kind: "progress", run: ended });
    expect(reduce(live, { kind: "progress", run }).run).toBe(ended);
    const next = { ...run, executionId: "e2" };
    expect(reduce(live, { kind: "progress", run: next }).run).toBe(next);
  });

  it("is the same object while the link stays as it is", () => {
    const live = reduce(initial, { kind: "link", link: "live", at });
    expect(reduce(live, { kind: "link", link: "live", at: at + 1 })).toBe(live);
  });

  it("remembers since when the server is gone, and forgets it when it is back", () => {
    const gone = reduce(initial, { kind: "link", link: "offline", at });
    expect(reduce(gone, { kind: "link", link: "offline", at: at + 5000 }).lostAt).toBe(at);
    expect(reduce(gone, { kind: "opened" }).lostAt).toBeUndefined();
    expect(reduce(gone, { kind: "link", link: "polling", at: at + 5000 }).lostAt).toBeUndefined();
  });

  it("knows nothing any more when a stream begins", () => {
    const live = reduce(reduce(initial, { kind: "state", event, at }), { kind: "opened" });
    expect(live).toMatchObject({ etag: "", link: "live", head: "7.1.completed" });
  });
});

describe("staleKeys", () => {
  const known: Live = { ...initial, etag: "before" };
  it("names what changed, and the lists", () => {
    expect(staleKeys(known, event)).toEqual([
      ["migrations"],
      ["executions"],
      ["migration", "1_a"],
      ["execution", "e1"],
    ]);
  });
  it("means everything after a gap, and when there is too much to tell", () => {
    const all = [["migrations"], ["migration"], ["executions"], ["execution"]];
    expect(staleKeys(initial, event)).toEqual(all);
    expect(staleKeys(known, { ...event, many: true })).toEqual(all);
  });
  it("means nothing when nothing changed", () => {
    expect(staleKeys({ ...known, etag: "a" }, event)).toEqual([]);
  });
});

class FakeSource extends EventTarget {
  static readonly CLOSED = 2;
  static all: FakeSource[] = [];
  readyState = 0;
  constructor() {
    super();
    FakeSource.all.push(this);
  }
  close() {
    this.readyState = 2;
  }
  say(type: string, data: unknown) {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    this.dispatchEvent(Object.assign(new Event(type), { data: text }));
  }
  fail(readyState: number) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }
}

describe("connect", () => {
  const answers: (() => Response | Promise<never>)[] = [];
  let changes: Change[];
  let stop: () => void;
  const asked = vi.fn((_url: string, _init?: RequestInit) => {
    const answer = answers.shift();
    return answer ? Promise.resolve(answer()) : Promise.reject(new TypeError("offline"));
  });
  const start = (events: Session["events"]) => {
    stop = connect({ events } as Session, (change) => changes.push(change));
  };
  const links = () =>
    changes.flatMap((c) => (c.kind === "link" ? [c.link] : c.kind === "opened" ? ["opened"] : []));

  beforeEach(() => {
    vi.useFakeTimers();
    changes = [];
    answers.length = 0;
    FakeSource.all = [];
    asked.mockClear();
    vi.stubGlobal("EventSource", FakeSource);
    vi.stubGlobal("fetch", asked);
  });
  afterEach(() => {
    stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("hands on what the stream says, and drops what is cut off", () => {
    start("sse");
    const [source] = FakeSource.all;
    source?.dispatchEvent(new Event("open"));
    source?.say("state", event);
    source?.say("state", '{"etag":');
    source?.say("progress", run);
    expect(changes.map((c) => c.kind)).toEqual(["opened", "state", "progress"]);
  });

  it("is offline while the stream tries again, and asks when it will not", async () => {
    start("sse");
    answers.push(() => Response.json(event));
    FakeSource.all[0]?.fail(0);
    expect(links()).toEqual(["offline"]);
    FakeSource.all[0]?.fail(2);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked.mock.calls[0]?.[0]).toBe("api/events?poll=1");
    expect(links()).toEqual(["offline", "polling"]);
    expect(FakeSource.all).toHaveLength(1);
    // After a while the stream gets another chance.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSource.all).toHaveLength(2);
  });

  it("asks with the etag it has, and takes 304 for nothing new", async () => {
    answers.push(
      () => Response.json(event),
      () => new Response(null, { status: 304 }),
    );
    start("poll");
    await vi.advanceTimersByTimeAsync(0);
    await vi.advanceTimersByTimeAsync(3000);
    expect(FakeSource.all).toHaveLength(0);
    expect(asked.mock.calls[1]?.[1]?.headers).toEqual({ "If-None-Match": '"a"' });
    expect(changes.filter((c) => c.kind === "state")).toHaveLength(1);
  });

  it("asks less often while nobody answers", async () => {
    start("poll");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(links()).toContain("offline");
    expect(asked.mock.calls.length).toBeLessThan(9);
  });

  it("stops asking when the session has ended", async () => {
    answers.push(() =>
      Response.json({ code: "unauthorized", status: 401, title: "", detail: "" }, { status: 401 }),
    );
    start("poll");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(links()).toEqual(["signed-out"]);
    expect(asked).toHaveBeenCalledTimes(1);
  });

  it("falls silent when it is stopped", async () => {
    start("poll");
    stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.mock.calls.length).toBeLessThanOrEqual(1);
    expect(changes).toEqual([]);
  });
});
