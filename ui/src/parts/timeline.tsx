// An execution's migrations on one axis of time.

import { useState } from "react";
import { now, useClock } from "../lib/clock.ts";
import { count, parseTime, plural } from "../lib/format.ts";
import { href } from "../lib/router.ts";
import { lookOf, stateOf } from "../lib/status.ts";
import type { Attempt, Execution } from "../lib/types.ts";
import { Button, cx, MigrationName, Took } from "./basics.tsx";

/** A Span is a part of the axis, in percent. */
export type Span = { left: number; width: number };

/** spanOf places an attempt on the axis from start to end, all in milliseconds. */
export function spanOf(from: number, to: number, start: number, end: number): Span {
  const whole = Math.max(1, end - start);
  const left = Math.max(0, Math.min(100, (100 * (from - start)) / whole));
  const width = Math.max(0.6, Math.min(100 - left, (100 * (to - from)) / whole));
  return { left: Math.min(left, 99.4), width };
}

export function Timeline({ execution, attempts }: { execution: Execution; attempts: Attempt[] }) {
  const going = execution.state === "running" && !execution.died;
  // While it runs the axis grows, once a second.
  useClock((current) => (going ? String(Math.floor(current / 1000)) : ""));
  const start = parseTime(execution.startedAt)?.getTime() ?? 0;
  const ended = parseTime(execution.endedAt)?.getTime();
  const last = Math.max(start, ...attempts.map((a) => parseTime(a.finishedAt)?.getTime() ?? 0));
  const end = going ? now() : (ended ?? last);
  const [limit, setLimit] = useState(step);
  const drawn = drawnOf(attempts, limit);
  const left = attempts.length - drawn.length;
  return (
    <>
      <ol className="divide-y divide-line/60">
        {drawn.map((a) => (
          <Row key={a.id} attempt={a} start={start} end={end} going={going} />
        ))}
      </ol>
      {left > 0 && (
        <div className="border-t px-4 py-2 text-center">
          <Button look="ghost" onClick={() => setLimit(limit + step)}>
            Show {plural(Math.min(left, step), "more", "more")} of {count(attempts.length)}
          </Button>
        </div>
      )}
    </>
  );
}

/** So many migrations are drawn at once; one execution can have thousands. */
const step = 100;

/** drawnOf picks the first ones, and those further down that somebody should see. */
export function drawnOf(attempts: Attempt[], limit: number): Attempt[] {
  return attempts.filter((a, i) => i < limit || stateOf(a) !== "completed");
}

function Row({
  attempt: a,
  start,
  end,
  going,
}: {
  attempt: Attempt;
  start: number;
  end: number;
  going: boolean;
}) {
  const state = stateOf(a);
  const look = lookOf(state);
  const Icon = look.icon;
  const from = parseTime(a.startedAt)?.getTime() ?? start;
  const running = state === "running" && going;
  const to = running ? end : (parseTime(a.finishedAt)?.getTime() ?? from + (a.durationMs ?? 0));
  const span = spanOf(from, to, start, end);
  return (
    <li className={cx(`tone-${look.tone}`, "relative")}>
      <a
        href={href("migrations", a.id, { attempt: a.executionId })}
        className="row-link grid grid-cols-[1rem_minmax(0,1fr)_auto] items-center gap-x-3 px-4 py-2 hover:bg-hover md:grid-cols-[1rem_minmax(0,22rem)_minmax(0,1fr)_auto]"
      >
        <Icon
          size={15}
          strokeWidth={2.25}
          aria-hidden
          className={cx("text-tone", running && "animate-spin")}
        />
        <span className="flex min-w-0 items-baseline gap-2">
          <span className="sr-only">{look.label}: </span>
          <MigrationName line tight id={a.id} />
        </span>
        <span
          className="relative col-span-full row-start-2 mt-1 h-2 rounded-sm bg-line/50 md:col-span-1 md:row-start-auto md:mt-0"
          aria-hidden
        >
          <span
            className={cx("bar absolute inset-y-0", running && "bar-moving")}
            style={{ left: `${span.left}%`, width: `${span.width}%` }}
          />
        </span>
        <span className="w-20 text-right text-xs">
          <Took ms={a.durationMs} since={a.startedAt} going={running} />
        </span>
        {a.error && (
          <span className="col-span-full mt-1 truncate pl-7 font-mono text-tone text-xs" title={a.error}>
            {a.error}
          </span>
        )}
      </a>
    </li>
  );
}
