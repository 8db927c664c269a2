import { useQuery } from "@tanstack/react-query";
import { ArrowRight, CircleCheck, OctagonX, Play, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { api } from "../lib/api.ts";
import { count, plural } from "../lib/format.ts";
import { href } from "../lib/router.ts";
import { firstLine } from "../lib/sqltext.ts";
import { lookOf, stateOf, type Tone } from "../lib/status.ts";
import { useShared } from "../lib/store.tsx";
import type { Migration, Run, Summary } from "../lib/types.ts";
import { advice, ended } from "../parts/attempt.tsx";
import {
  Badge,
  Button,
  cx,
  Empty,
  Failure,
  MigrationName,
  Panel,
  Skeleton,
  Time,
  Took,
} from "../parts/basics.tsx";
import { ExecutionRows } from "../parts/executionrows.tsx";
import { LockLine, Who } from "../parts/holder.tsx";
import { Heading } from "../parts/layout.tsx";
import { ProgressLine } from "../parts/progress.tsx";
import { useRunDialog } from "../parts/rundialog.tsx";
import { hasEnded } from "../parts/runview.tsx";
import { Sql } from "../parts/sql.tsx";
import { wordOf } from "../parts/statements.tsx";

export function Dashboard() {
  const { session } = useShared();
  const summary = useQuery({ queryKey: ["summary"], queryFn: ({ signal }) => api.summary(signal) });
  if (summary.error && !summary.data) {
    return <Failure error={summary.error} retry={() => void summary.refetch()} />;
  }
  const data = summary.data;
  const broken = data?.active.filter((m) => m.status === "failed" || m.status === "interrupted") ?? [];
  return (
    <>
      <Heading title="Dashboard" about={data ? <Standing summary={data} /> : " "} />
      <div className="space-y-4">
        {broken.map((m) => (
          <Broken key={m.id} migration={m} />
        ))}
        {data ? <Cards summary={data} /> : <div className="panel h-24 pulse" />}
        <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
          <Recent />
          <div className="grid gap-4 sm:max-lg:grid-cols-2">
            <Now summary={data} />
            {session.knowsFiles && <Next summary={data} />}
          </div>
        </div>
      </div>
    </>
  );
}

/** Standing says in one sentence where the database stands. */
function Standing({ summary: s }: { summary: Summary }) {
  if (s.total === 0) return <>No migrations yet.</>;
  const trouble = s.failed + s.interrupted;
  const drift = [
    s.edited && `${count(s.edited)} edited since`,
    s.missing && plural(s.missing, "missing file"),
    s.outOfOrder && `${count(s.outOfOrder)} out of order`,
  ].filter(Boolean);
  const ready = s.ready && trouble === 0;
  return (
    <span className="inline-flex flex-wrap items-baseline gap-x-1.5">
      {ready ? (
        <CircleCheck size={14} aria-hidden className="tone-ok self-center text-tone" />
      ) : (
        <TriangleAlert
          size={14}
          aria-hidden
          className={cx(trouble ? "tone-fail" : "tone-warn", "self-center text-tone")}
        />
      )}
      <span>{ready ? "Ready: everything is applied." : "Not ready: an application must wait."}</span>
      {s.current && (
        <span className="min-w-0">
          At{" "}
          <a href={href("migrations", s.current)} className="hover:underline">
            <MigrationName id={s.current} />
          </a>
          {drift.length > 0 && ` · ${drift.join(", ")}`}
        </span>
      )}
    </span>
  );
}

/** Broken is the card that leads from "the deploy failed" to the statement that did. */
function Broken({ migration: m }: { migration: Migration }) {
  const { session } = useShared();
  const run = useRunDialog();
  const detail = useQuery({
    queryKey: ["migration", m.id],
    queryFn: ({ signal }) => api.migration(m.id, undefined, signal),
  });
  const attempt = detail.data?.attempts[0];
  const stopped = m.status === "interrupted";
  const index = attempt?.errorIndex ?? (stopped ? (m.done ?? 0) : undefined);
  const statement = index !== undefined ? attempt?.statements?.[index] : undefined;
  const word = wordOf(attempt?.statements);
  const text = attempt?.errorStep ?? statement?.sql;
  const place = (index ?? m.done ?? 0) + 1;
  const look = lookOf(m.status);
  const Icon = m.status === "failed" ? OctagonX : look.icon;
  const to = href("migrations", m.id, { attempt: m.executionId, statement: place });
  return (
    <section
      aria-label={`${look.label}: ${m.id}`}
      className="tone-fail overflow-hidden rounded-lg border border-tone-line bg-panel shadow-[inset_4px_0_var(--tone-fill)]"
    >
      <div className="flex flex-wrap items-start gap-x-4 gap-y-3 py-3.5 pr-4 pl-5">
        <div className="min-w-0 flex-1 basis-96">
          <p className="flex flex-wrap items-center gap-x-2 text-tone">
            <Icon size={16} strokeWidth={2.25} aria-hidden className="shrink-0" />
            <span className="font-semibold">
              {m.direction === "down" ? "Rollback " : ""}
              {m.direction === "down" ? look.label.toLowerCase() : look.label}
            </span>
            <Time at={m.finishedAt ?? m.startedAt} className="text-ink-2 text-sm" />
          </p>
          <h2 className="mt-0.5 text-[0.9375rem] leading-6">
            <a href={to} className="hover:underline">
              <MigrationName line id={m.id} />
            </a>
          </h2>
          {m.error && (
            <p className="mt-1 line-clamp-3 break-words font-mono text-tone text-xs leading-5">{m.error}</p>
          )}
          {stopped && attempt && (
            <p className="mt-1 text-sm">
              {m.died && `${ended} `}
              <span className="text-ink-2">{advice(attempt)}</span>
            </p>
          )}
          <p className="mt-1.5 flex flex-wrap gap-x-3 text-ink-2 text-xs">
            {m.steps ? (
              <span className="num">
                stopped at {word} {Math.min(place, m.steps)} of {m.steps}
              </span>
            ) : null}
            <Who holder={m.holder} whole={stopped} />
          </p>
        </div>
        {/* Where they do not fit beside each other, the second comes first. */}
        <div className="flex flex-wrap-reverse gap-2">
          {!session.readOnly && (
            <Button
              onClick={() =>
                run({ direction: m.direction ?? "up", target: m.direction === "down" ? undefined : m.id })
              }
            >
              <Play size={13} aria-hidden /> Run again…
            </Button>
          )}
          <a
            href={to}
            className="inline-flex h-8 items-center gap-1.5 rounded-md bg-accent-solid px-3 font-medium text-on-accent text-sm hover:opacity-90"
          >
            {stopped ? `Show the ${word}` : `Show the failing ${word}`} <ArrowRight size={14} aria-hidden />
          </a>
        </div>
      </div>
      {text && (
        <div className="max-h-44 overflow-hidden border-tone-line border-t bg-tone-bg py-2 pr-4 pl-5">
          {statement?.go ? (
            <p className="font-mono text-xs">{firstLine(text)}</p>
          ) : (
            <Sql text={head(text, 7)} />
          )}
        </div>
      )}
    </section>
  );
}

function head(text: string, lines: number): string {
  const all = text.split("\n");
  return all.length > lines ? `${all.slice(0, lines).join("\n")}\n…` : text;
}

type Card = { name: string; value: number; tone: Tone; icon: string; to: string; also?: string };

/** cardsOf picks the numbers that the dashboard leads with. */
export function cardsOf(s: Summary): Card[] {
  const interrupted = s.interrupted + s.paused;
  const stopped: Card = {
    name: s.interrupted ? "Interrupted" : "Paused",
    value: interrupted,
    tone: s.interrupted ? "fail" : "warn",
    icon: s.interrupted ? "interrupted" : "paused",
    to: "interrupted,paused",
  };
  const failed: Card = { name: "Failed", value: s.failed, tone: "fail", icon: "failed", to: "failed" };
  return [
    { name: "Completed", value: s.completed, tone: "ok", icon: "completed", to: "completed" },
    { name: "Pending", value: s.pending, tone: "idle", icon: "pending", to: "pending" },
    // Of what needs somebody there is one card; where there are both, the other is named in it.
    s.failed === 0 && interrupted > 0
      ? stopped
      : { ...failed, also: interrupted ? `${count(interrupted)} ${stopped.name.toLowerCase()}` : undefined },
    { name: "Running", value: s.running, tone: "run", icon: "running", to: "running" },
    { name: "Total", value: s.total, tone: "idle", icon: "", to: "" },
  ];
}

function Cards({ summary }: { summary: Summary }) {
  const cards = cardsOf(summary);
  const parts = cards.slice(0, 4).filter((c) => c.value > 0);
  return (
    <section className="panel overflow-hidden" aria-label="Migrations by status">
      <ul className="-mr-px -mb-px grid grid-cols-6 sm:grid-cols-5">
        {cards.map((c, i) => (
          <li
            key={c.name}
            className={cx("border-r border-b sm:col-span-1", i < 3 ? "col-span-2" : "col-span-3")}
          >
            <CardLink card={c} />
          </li>
        ))}
      </ul>
      {parts.length > 0 && (
        <div className="flex h-1.5 gap-px" aria-hidden>
          {parts.map((c) => (
            <span
              key={c.name}
              className={cx(`tone-${c.tone}`, "block min-w-1 bg-tone-fill")}
              style={{ flexGrow: c.value }}
            />
          ))}
        </div>
      )}
    </section>
  );
}

function CardLink({ card: c }: { card: Card }) {
  const Icon = c.icon ? lookOf(c.icon).icon : undefined;
  const loud = c.value > 0 && c.tone !== "idle";
  return (
    <a
      href={href("migrations", "", { status: c.to })}
      className={cx(`tone-${c.tone}`, "row-link block px-4 pt-3 pb-3.5 hover:bg-hover")}
    >
      <span className="flex items-center gap-1.5 text-ink-2 text-xs">
        {Icon && (
          <Icon
            size={13}
            strokeWidth={2.25}
            aria-hidden
            className={cx(loud ? "text-tone" : "text-ink-3", loud && c.icon === "running" && "animate-spin")}
          />
        )}
        {c.name}
      </span>
      <span className="mt-1 flex items-baseline gap-2">
        <span
          className={cx(
            "num font-semibold text-[1.625rem] leading-8 tracking-tight",
            c.value === 0 ? "text-ink-3" : c.tone === "fail" ? "text-tone" : "text-ink",
          )}
        >
          {count(c.value)}
        </span>
        {c.also && <span className="text-ink-3 text-xs">{c.also}</span>}
      </span>
    </a>
  );
}

function Recent() {
  const recent = useQuery({
    queryKey: ["executions", "recent"],
    queryFn: ({ signal }) => api.executions(undefined, 8, signal),
  });
  const all = (
    <a href={href("executions")} className="link text-xs">
      All executions
    </a>
  );
  return (
    <Panel title="Recent executions" id="recent" actions={all}>
      {recent.error && !recent.data ? (
        <div className="p-4">
          <Failure error={recent.error} retry={() => void recent.refetch()} />
        </div>
      ) : !recent.data ? (
        <Skeleton lines={6} />
      ) : recent.data.executions.length === 0 ? (
        <Empty title="Nothing ran yet">
          The first execution shows here: <code>aurora migrate apply</code>.
        </Empty>
      ) : (
        <ExecutionRows executions={recent.data.executions} dense />
      )}
    </Panel>
  );
}

/** Now says what runs at this moment, and who holds the lock. */
function Now({ summary }: { summary?: Summary }) {
  const { live } = useShared();
  const run = live.run && !hasEnded(live.run) ? live.run : undefined;
  const running = summary?.active.filter((m) => m.status === "running") ?? [];
  return (
    <Panel title="Now" id="now">
      {!summary ? (
        <Skeleton lines={2} />
      ) : (
        <div className="divide-y">
          {running.map((m) => (
            <Running key={m.id} migration={m} run={run?.migration === m.id ? run : undefined} />
          ))}
          {running.length === 0 && run && <Started run={run} />}
          {running.length === 0 && !run && <p className="px-4 py-3 text-ink-2">Nothing is running.</p>}
          <div className="px-4 py-3">
            <h3 className="label mb-0.5">Lock</h3>
            <LockLine lock={summary.lock} />
          </div>
        </div>
      )}
    </Panel>
  );
}

function Running({ migration: m, run }: { migration: Migration; run?: Run }) {
  return (
    <div className="space-y-2 px-4 py-3">
      <div className="flex items-center gap-2">
        <Badge state={stateOf({ state: m.state ?? "running", died: m.died })} />
        <span className="ml-auto text-ink-2 text-xs">
          <Took since={m.startedAt} going />
        </span>
      </div>
      <a href={href("migrations", m.id)} className="block hover:underline">
        <MigrationName line id={m.id} />
      </a>
      <ProgressLine
        progress={run?.progress ?? m.progress}
        steps={m.steps}
        done={m.done}
        startedAt={m.startedAt}
        label={`Progress of ${m.id}`}
      />
    </div>
  );
}

function Started({ run }: { run: Run }) {
  return (
    <div className="space-y-1.5 px-4 py-3">
      <Badge state={run.state} />
      <p className="text-ink-2 text-sm">
        {run.direction === "down" ? "A rollback" : "An application"} was started here{" "}
        <Time at={run.startedAt} />.
      </p>
    </div>
  );
}

/** Next shows the first pending migrations, and offers to apply them. */
function Next({ summary }: { summary?: Summary }) {
  const { session } = useShared();
  const open = useRunDialog();
  // What stopped half way is what the next run begins with.
  const wanted = { status: "pending,failed,interrupted,paused", order: "asc", limit: 4 };
  const next = useQuery({
    queryKey: ["migrations", wanted],
    queryFn: ({ signal }) => api.migrations(wanted, signal),
  });
  const total = next.data?.total ?? summary?.pending ?? 0;
  const more = total - (next.data?.migrations.length ?? 0);
  // Of a rollback that failed nothing is left to apply.
  const listed = next.data?.migrations.filter((m) => m.status !== "applied") ?? [];
  const nothing = next.data ? listed.length === 0 && more <= 0 : total === 0;
  const apply: ReactNode = !session.readOnly && !nothing && (
    <Button className="h-7 px-2.5" onClick={() => open({ direction: "up" })}>
      <Play size={12} aria-hidden /> Apply…
    </Button>
  );
  return (
    <Panel title="Next" id="next" actions={apply}>
      {!next.data ? (
        <Skeleton lines={2} />
      ) : nothing ? (
        <p className="px-4 py-3 text-ink-2">Nothing is pending.</p>
      ) : (
        <ol className="divide-y divide-line/60">
          {listed.map((m) => (
            <li key={m.id}>
              <a
                href={href("migrations", m.id)}
                className="row-link flex items-center gap-2 px-4 py-2 hover:bg-hover"
              >
                <MigrationName line id={m.id} className="flex-1 text-sm" />
                {m.status !== "pending" && <Badge state={m.status} />}
              </a>
            </li>
          ))}
          {more > 0 && (
            <li className="px-4 py-2 text-xs">
              <a href={href("migrations", "", { status: wanted.status })} className="link">
                and {plural(more, "more", "more")}
              </a>
            </li>
          )}
        </ol>
      )}
    </Panel>
  );
}
