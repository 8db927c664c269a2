// Two executions beside each other: the same migrations, and how long each took.

import { useQuery } from "@tanstack/react-query";
import { api } from "../lib/api.ts";
import { duration, exact, parseTime, shortId } from "../lib/format.ts";
import { href, navigate } from "../lib/router.ts";
import { lookOf, stateOf } from "../lib/status.ts";
import type { Attempt, Execution } from "../lib/types.ts";
import { cx, Failure, MigrationName, Panel, Skeleton } from "./basics.tsx";

export type Pair = { id: string; here?: Attempt; there?: Attempt };

/** pairsOf puts the attempts of two executions together by migration, in the order of the first. */
export function pairsOf(here: Attempt[], there: Attempt[]): Pair[] {
  const others = new Map(there.map((a) => [a.id, a]));
  const pairs: Pair[] = here.map((a) => ({ id: a.id, here: a, there: others.get(a.id) }));
  for (const a of here) others.delete(a.id);
  return [...pairs, ...[...others.values()].map((a) => ({ id: a.id, there: a }))];
}

/** difference says how much longer or shorter the first took: "+ 1.2 s". It says nothing where one is not known. */
export function difference(here?: number, there?: number): string {
  if (here === undefined || there === undefined) return "";
  const ms = here - there;
  if (Math.abs(ms) < 1) return "same";
  return `${ms > 0 ? "+" : "−"} ${duration(Math.abs(ms))}`;
}

type Props = { execution: Execution; attempts: Attempt[]; other: string };

export function Compare({ execution, attempts, other }: Props) {
  const recent = useQuery({
    queryKey: ["executions", "to compare"],
    queryFn: ({ signal }) => api.executions(undefined, 50, signal),
  });
  const rest = recent.data?.executions.filter((e) => e.id !== execution.id) ?? [];
  if (rest.length === 0) return null;
  const select = (
    <select
      aria-label="Compare with"
      className="field h-7 max-w-72 py-0 text-xs"
      value={other}
      onChange={(event) => navigate(href("executions", execution.id, { with: event.target.value }), true)}
    >
      <option value="">choose an execution…</option>
      {rest.map((e) => (
        <option key={e.id} value={e.id}>
          {nameOf(e)}
        </option>
      ))}
      {other && !rest.some((e) => e.id === other) && <option value={other}>{shortId(other)}</option>}
    </select>
  );
  return (
    <Panel title="Compare with" id="compare" actions={select}>
      {other ? (
        <Beside attempts={attempts} other={other} />
      ) : (
        <p className="px-4 py-3 text-ink-2">
          The same migrations in another execution, and how long each took.
        </p>
      )}
    </Panel>
  );
}

function nameOf(e: Execution): string {
  const date = parseTime(e.startedAt);
  const when = date ? exact(date).slice(0, 16) : "";
  return `${when} ${e.direction} ${e.last ?? ""} (${lookOf(stateOf(e)).label.toLowerCase()})`;
}

function Beside({ attempts, other }: { attempts: Attempt[]; other: string }) {
  const detail = useQuery({
    queryKey: ["execution", other],
    queryFn: ({ signal }) => api.execution(other, undefined, signal),
  });
  if (detail.error) {
    return (
      <div className="p-4">
        <Failure error={detail.error} retry={() => void detail.refetch()} />
      </div>
    );
  }
  if (!detail.data) return <Skeleton lines={3} />;
  return (
    <table className="w-full table-fixed text-sm">
      <thead className="text-left text-ink-3 text-xs">
        <tr className="border-b">
          <th scope="col" className="py-2 pr-2 pl-4 font-medium">
            Migration
          </th>
          <th scope="col" className="w-24 px-2 py-2 text-right font-medium">
            Here
          </th>
          <th scope="col" className="w-24 px-2 py-2 text-right font-medium">
            There
          </th>
          <th scope="col" className="w-24 py-2 pr-4 pl-2 text-right font-medium max-sm:hidden">
            Difference
          </th>
        </tr>
      </thead>
      <tbody className="divide-y divide-line/60">
        {pairsOf(attempts, detail.data.migrations).map((pair) => (
          <tr key={pair.id}>
            <td className="py-2 pr-2 pl-4">
              <a href={href("migrations", pair.id)} className="hover:underline">
                <MigrationName line id={pair.id} />
              </a>
            </td>
            <Side attempt={pair.here} />
            <Side attempt={pair.there} />
            <td className="num py-2 pr-4 pl-2 text-right text-ink-2 text-xs max-sm:hidden">
              {difference(pair.here?.durationMs, pair.there?.durationMs)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Side({ attempt }: { attempt?: Attempt }) {
  if (!attempt) return <td className="px-2 py-2 text-right text-ink-3 text-xs">not in it</td>;
  const look = lookOf(stateOf(attempt));
  const Icon = look.icon;
  return (
    <td className={cx(`tone-${look.tone}`, "px-2 py-2")}>
      <span className="num flex items-center justify-end gap-1.5 text-xs">
        {attempt.durationMs === undefined ? "–" : duration(attempt.durationMs)}
        <Icon size={13} aria-hidden className="shrink-0 text-tone" />
        <span className="sr-only">{look.label}</span>
      </span>
    </td>
  );
}
