import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ChevronLeft, FilePen, Play, Undo2 } from "lucide-react";
import { useEffect, useState } from "react";
import { api } from "../lib/api.ts";
import { count, plural } from "../lib/format.ts";
import { Markdown } from "../lib/markdown.tsx";
import { href, navigate } from "../lib/router.ts";
import { useShared } from "../lib/store.tsx";
import type { Attempt, Migration, MigrationDetail, Statement } from "../lib/types.ts";
import { AttemptView } from "../parts/attempt.tsx";
import { AttemptList } from "../parts/attemptlist.tsx";
import {
  Badge,
  Button,
  CopyButton,
  cx,
  ExactTime,
  Failure,
  Field,
  Flag,
  Panel,
  Skeleton,
} from "../parts/basics.tsx";
import { Who } from "../parts/holder.tsx";
import { useRunDialog } from "../parts/rundialog.tsx";
import { Statements } from "../parts/statements.tsx";

export function MigrationPage({ id, query }: { id: string; query: URLSearchParams }) {
  const [cursors, setCursors] = useState<string[]>([""]);
  const detail = useQuery({
    queryKey: ["migration", id],
    queryFn: ({ signal }) => api.migration(id, undefined, signal),
  });
  const cursor = cursors.at(-1) ?? "";
  const older = useQuery({
    queryKey: ["migration", id, "older", cursor],
    queryFn: ({ signal }) => api.migration(id, cursor, signal),
    enabled: cursor !== "",
    placeholderData: keepPreviousData,
  });
  const canonical = detail.data?.migration.id;
  useEffect(() => {
    if (!canonical || canonical === id) return;
    navigate(href("migrations", canonical, Object.fromEntries(query)), true);
  }, [canonical, id, query]);

  if (detail.error && !detail.data) {
    return (
      <div className="space-y-3">
        <Back />
        <h1 className="sr-only">{id}</h1>
        <Failure error={detail.error} retry={() => void detail.refetch()} />
      </div>
    );
  }
  if (!detail.data) return <Skeleton lines={10} />;
  const page = cursor && older.data ? older.data : detail.data;
  return (
    <Loaded
      detail={detail.data}
      attempts={page.attempts}
      query={query}
      older={page.next ? () => setCursors([...cursors, page.next]) : undefined}
      newer={cursors.length > 1 ? () => setCursors(cursors.slice(0, -1)) : undefined}
    />
  );
}

function Back() {
  return (
    <a href={href("migrations")} className="link inline-flex items-center gap-0.5 text-sm">
      <ChevronLeft size={14} aria-hidden /> Migrations
    </a>
  );
}

type LoadedProps = {
  detail: MigrationDetail;
  attempts: Attempt[];
  query: URLSearchParams;
  older?: () => void;
  newer?: () => void;
};

function Loaded({ detail, attempts, query, older, newer }: LoadedProps) {
  const { migration: m } = detail;
  const wanted = query.get("attempt");
  const listed = wanted ? attempts.find((a) => a.executionId === wanted) : attempts[0];
  const statement = query.get("statement");
  const shown = listed ?? (wanted ? undefined : attempts[0]);
  return (
    <div className="space-y-4">
      <Header migration={m} />
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="min-w-0 space-y-4">
          {wanted && !listed ? (
            <OtherAttempt id={m.id} execution={wanted} statement={statement} />
          ) : shown ? (
            <AttemptView
              key={shown.executionId}
              attempt={shown}
              newest={shown === detail.attempts[0]}
              statement={statement}
            />
          ) : (
            <NeverRan detail={detail} />
          )}
        </div>
        <div className="min-w-0 space-y-4">
          {detail.description && (
            <Panel title="Description" id="description">
              <div className="px-4 py-3">
                <Markdown text={detail.description} />
              </div>
            </Panel>
          )}
          <AttemptList
            migration={m}
            attempts={attempts}
            selected={shown?.executionId ?? wanted}
            older={older}
            newer={newer}
          />
          <Facts migration={m} attempt={shown} />
        </div>
      </div>
    </div>
  );
}

/** OtherAttempt shows an attempt that is not on the page of attempts at hand. */
function OtherAttempt({
  id,
  execution,
  statement,
}: {
  id: string;
  execution: string;
  statement: string | null;
}) {
  const attempt = useQuery({
    queryKey: ["migration", id, "attempt", execution],
    queryFn: ({ signal }) => api.attempt(id, execution, signal),
  });
  if (attempt.error) return <Failure error={attempt.error} retry={() => void attempt.refetch()} />;
  if (!attempt.data) return <Skeleton lines={6} />;
  return <AttemptView attempt={attempt.data} newest={false} statement={statement} />;
}

function Header({ migration: m }: { migration: Migration }) {
  const { session } = useShared();
  const run = useRunDialog();
  const undo = m.status === "applied" || m.status === "ahead" || m.status === "missing";
  const apply = ["pending", "rolled_back", "failed", "interrupted", "paused", "out_of_order"].includes(
    m.status,
  );
  const halfDown = m.direction === "down" && (m.status === "failed" || m.status === "interrupted");
  return (
    <div>
      <Back />
      <div className="mt-1 flex flex-wrap items-start gap-x-4 gap-y-3">
        <div className="min-w-0 flex-1 basis-80">
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <h1 className="min-w-0 break-words font-semibold text-xl leading-7 tracking-tight">
              {m.name || m.version}
            </h1>
            <Badge state={m.status} />
            {m.edited && (
              <Flag tone="warn" title="The file changed since this was applied">
                <FilePen size={10} aria-hidden /> edited since
              </Flag>
            )}
            {m.kind && m.kind !== "applied" && (
              <Flag tone="idle" title="Recorded without running here">
                {m.kind === "resolved" ? "set by hand" : m.kind}
              </Flag>
            )}
          </div>
          <p className="flex min-w-0 items-center gap-1 font-mono text-ink-2 text-xs">
            <span className="truncate">{m.id}</span> <CopyButton text={m.id} what="the identifier" />
          </p>
        </div>
        {!session.readOnly && (undo || apply) && (
          <div className="flex flex-wrap gap-2">
            {undo && (
              <Button
                disabled={m.reversible === false}
                title={
                  m.reversible === false
                    ? `It cannot be undone: ${m.irreversible ?? "it has no way down"}`
                    : undefined
                }
                onClick={() => run({ direction: "down", through: m.id })}
              >
                <Undo2 size={14} aria-hidden /> Roll back…
              </Button>
            )}
            {apply && (
              <Button
                look="solid"
                onClick={() => run(halfDown ? { direction: "down" } : { direction: "up", target: m.id })}
              >
                <Play size={13} aria-hidden />{" "}
                {m.status === "pending" || m.status === "rolled_back" ? "Apply…" : "Run again…"}
              </Button>
            )}
          </div>
        )}
      </div>
    </div>
  );
}

function NeverRan({ detail }: { detail: MigrationDetail }) {
  const { migration: m, statements } = detail;
  const [down, setDown] = useState(false);
  const text: Record<string, string> = {
    covered: "A baseline or a snapshot stands for it, so it will not run here.",
    out_of_order:
      "It has not run, but a newer version is applied. Applying it needs another order of execution.",
  };
  const listed: Statement[] = (down ? statements?.down : statements?.up) ?? [];
  const ways = [
    { name: "Up", on: !down, set: () => setDown(false), n: statements?.up.length ?? 0 },
    { name: "Down", on: down, set: () => setDown(true), n: statements?.down.length ?? 0 },
  ];
  return (
    <>
      <p className="panel px-4 py-3 text-ink-2">
        {text[m.status] ?? "It has not run yet. This is what it would do."}
      </p>
      {statements && (
        <Panel
          title="Statements"
          id="statements"
          actions={ways.map((way) => (
            <button
              key={way.name}
              type="button"
              aria-pressed={way.on}
              onClick={way.set}
              className={cx(
                "h-7 rounded-md px-2.5 text-xs",
                way.on ? "bg-hover font-semibold text-ink" : "text-ink-2 hover:bg-hover",
              )}
            >
              {way.name} <span className="num text-ink-3">{way.n}</span>
            </button>
          ))}
        >
          {listed.length > 0 ? (
            <Statements key={String(down)} statements={listed} plain />
          ) : (
            <p className="px-4 py-3 text-ink-2">
              {down
                ? (m.irreversible ?? "It has no way down, and cannot be undone.")
                : "It has no statements."}
            </p>
          )}
        </Panel>
      )}
    </>
  );
}

function Facts({ migration: m, attempt }: { migration: Migration; attempt?: Attempt }) {
  const written = m.language === "go" ? "Go" : m.language === "sql" ? "SQL" : undefined;
  return (
    <Panel title="Details" id="details">
      <dl className="grid grid-cols-2 gap-x-4 gap-y-2.5 px-4 py-3 text-sm">
        {written && <Field name="Written in">{written}</Field>}
        {m.statements !== undefined && <Field name="Way up">{plural(m.statements, "step")}</Field>}
        {m.reversible !== undefined && (
          <Field name="Way down" wide>
            {m.reversible
              ? "can be undone"
              : `cannot be undone${m.irreversible ? `: ${m.irreversible}` : ""}`}
          </Field>
        )}
        {m.source && (
          <Field name="File" wide>
            <span className="flex min-w-0 items-center gap-1">
              <span className="truncate font-mono text-xs" title={m.source}>
                {m.source}
              </span>
              <CopyButton text={m.source} what="the file's name" />
            </span>
          </Field>
        )}
        {m.foreign && (
          <Field name="Read from" wide>
            <span className="font-mono text-xs">{m.foreign}</span>
          </Field>
        )}
        {attempt && (
          <>
            <Field name="Started" wide>
              <ExactTime at={attempt.startedAt} />
            </Field>
            {attempt.finishedAt && (
              <Field name="Ended" wide>
                <ExactTime at={attempt.finishedAt} />
              </Field>
            )}
            <Field name="By" wide>
              <Who holder={attempt.holder} />
            </Field>
            {attempt.reason && (
              <Field name="Reason" wide>
                {attempt.reason}
              </Field>
            )}
            <Field name="Steps done">
              <span className="num">
                {count(attempt.done)} of {count(attempt.steps)}
              </span>
            </Field>
            {attempt.operator && <Field name="Program">{attempt.operator}</Field>}
            {attempt.checksum && (
              <Field name="Checksum" wide>
                <span className="flex min-w-0 items-center gap-1">
                  <span className="truncate font-mono text-xs" title={attempt.checksum}>
                    {attempt.checksum}
                  </span>
                  <CopyButton text={attempt.checksum} what="the checksum" />
                </span>
              </Field>
            )}
          </>
        )}
      </dl>
    </Panel>
  );
}
