import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ArrowDown, ArrowUp, PencilLine, Play, Search, Undo2, X } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { api } from "../lib/api.ts";
import { count } from "../lib/format.ts";
import { href, navigate } from "../lib/router.ts";
import { useShared } from "../lib/store.tsx";
import type { Migration, Summary } from "../lib/types.ts";
import {
  Badge,
  Button,
  cx,
  Empty,
  Failure,
  Flag,
  MigrationName,
  Skeleton,
  Time,
  Took,
} from "../parts/basics.tsx";
import { Who } from "../parts/holder.tsx";
import { Heading } from "../parts/layout.tsx";
import { Pager } from "../parts/pager.tsx";
import { useRunDialog } from "../parts/rundialog.tsx";

const pageSize = 100;

const filters: { status: string; name: string; count: (s: Summary) => number; quiet?: boolean }[] = [
  { status: "", name: "All", count: (s) => s.total },
  { status: "completed", name: "Completed", count: (s) => s.completed },
  { status: "pending", name: "Pending", count: (s) => s.pending },
  { status: "failed", name: "Failed", count: (s) => s.failed },
  { status: "running", name: "Running", count: (s) => s.running, quiet: true },
  { status: "interrupted,paused", name: "Interrupted", count: (s) => s.interrupted + s.paused, quiet: true },
  { status: "rolled_back", name: "Rolled back", count: (s) => s.rolledBack, quiet: true },
  { status: "out_of_order", name: "Out of order", count: (s) => s.outOfOrder, quiet: true },
  { status: "edited", name: "Edited", count: (s) => s.edited, quiet: true },
  { status: "missing,ahead", name: "File missing", count: (s) => s.missing + s.ahead, quiet: true },
  { status: "covered", name: "Covered", count: (s) => s.covered, quiet: true },
];

const kinds = [
  ["", "Every kind"],
  ["sql", "SQL"],
  ["go", "Go"],
  ["baseline", "Baseline"],
  ["resolved", "Set by hand"],
  ["imported", "Imported"],
] as const;

export function Migrations({ query }: { query: URLSearchParams }) {
  const { session } = useShared();
  const run = useRunDialog();
  const filter = {
    status: query.get("status") ?? "",
    kind: query.get("kind") ?? "",
    q: query.get("q") ?? "",
    order: query.get("order") === "asc" ? "asc" : "",
    cursor: query.get("cursor") ?? "",
  };
  const summary = useQuery({ queryKey: ["summary"], queryFn: ({ signal }) => api.summary(signal) });
  const list = useQuery({
    queryKey: ["migrations", filter],
    queryFn: ({ signal }) => api.migrations({ ...filter, limit: pageSize }, signal),
    placeholderData: keepPreviousData,
  });
  const go = (change: Partial<typeof filter>, replace = false) =>
    navigate(href("migrations", "", { ...filter, cursor: "", ...change }), replace);
  const { cursor, ...rest } = filter;
  const data = list.data;
  const filtered = filter.status !== "" || filter.kind !== "" || filter.q !== "";
  const canApply = !session.readOnly && (summary.data?.pending ?? 0) + (summary.data?.failed ?? 0) > 0;
  return (
    <>
      <Heading
        title="Migrations"
        about={!session.knowsFiles && "The migration files are not known here, so pending ones do not show."}
        actions={
          canApply && (
            <Button look="solid" onClick={() => run({ direction: "up" })}>
              <Play size={13} aria-hidden /> Apply…
            </Button>
          )
        }
      />
      <div className="panel overflow-hidden">
        <div className="space-y-2.5 border-b px-4 py-3">
          <div className="flex flex-wrap gap-2">
            <SearchField value={filter.q} focus={query.has("focus")} onChange={(q) => go({ q }, true)} />
            <select
              aria-label="Kind"
              className="field h-8 py-0 text-sm"
              value={filter.kind}
              onChange={(event) => go({ kind: event.target.value })}
            >
              {kinds.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
            <Button onClick={() => go({ order: filter.order ? "" : "asc" })}>
              {filter.order ? <ArrowUp size={13} aria-hidden /> : <ArrowDown size={13} aria-hidden />}
              {filter.order ? "Oldest first" : "Newest first"}
            </Button>
          </div>
          <StatusFilter value={filter.status} summary={summary.data} onChange={(status) => go({ status })} />
        </div>
        {list.error && !data ? (
          <div className="p-4">
            <Failure error={list.error} retry={() => void list.refetch()} />
          </div>
        ) : !data ? (
          <Skeleton lines={9} />
        ) : data.migrations.length === 0 ? (
          filtered ? (
            <Empty title="Nothing matches">
              <button type="button" className="link" onClick={() => go({ status: "", kind: "", q: "" })}>
                Show all migrations
              </button>
            </Empty>
          ) : (
            <Empty title="No migrations yet">
              Make the first with <code>aurora migrate new NAME</code>.
            </Empty>
          )
        ) : (
          <Table migrations={data.migrations} dimmed={list.isPlaceholderData} />
        )}
        {data && data.migrations.length > 0 && (
          <Pager
            list={JSON.stringify(rest)}
            cursor={cursor}
            next={data.next}
            pageSize={pageSize}
            shown={data.migrations.length}
            total={data.total}
            words={data.total === 1 ? "migration" : "migrations"}
            go={(next) => {
              go({ cursor: next });
              window.scrollTo(0, 0);
            }}
          />
        )}
      </div>
    </>
  );
}

function SearchField(props: { value: string; focus: boolean; onChange: (value: string) => void }) {
  const { value, focus, onChange } = props;
  const [text, setText] = useState(value);
  const field = useRef<HTMLInputElement>(null);
  const sent = useRef(value);
  // Going back and forth changes the value from outside; own changes come
  // back late, and must not overwrite what was typed meanwhile.
  useEffect(() => {
    if (value !== sent.current) setText(value);
    sent.current = value;
  }, [value]);
  useEffect(() => {
    if (focus) field.current?.focus();
  }, [focus]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: onChange is new each time, the text is what counts
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => {
      sent.current = text;
      onChange(text);
    }, 200);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div className="relative min-w-48 flex-1 max-sm:basis-full">
      <Search size={14} aria-hidden className="-translate-y-1/2 absolute top-1/2 left-2.5 text-ink-3" />
      <input
        id="search"
        ref={field}
        type="search"
        aria-label="Search migrations"
        placeholder="Search names, descriptions and errors"
        autoComplete="off"
        spellCheck={false}
        className="field h-8 w-full py-0 pr-8 pl-8 text-sm"
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          if (text) setText("");
          else field.current?.blur();
        }}
      />
      {text && (
        <button
          type="button"
          aria-label="Clear the search"
          onClick={() => {
            setText("");
            field.current?.focus();
          }}
          className="-translate-y-1/2 absolute top-1/2 right-1.5 inline-flex size-6 items-center justify-center rounded text-ink-3 hover:text-ink"
        >
          <X size={13} aria-hidden />
        </button>
      )}
    </div>
  );
}

type StatusFilterProps = { value: string; summary?: Summary; onChange: (status: string) => void };

function StatusFilter({ value, summary, onChange }: StatusFilterProps) {
  const shown = filters.filter((f) => !f.quiet || f.status === value || (summary && f.count(summary) > 0));
  return (
    <fieldset className="flex flex-wrap gap-1">
      <legend className="sr-only">Status</legend>
      {shown.map((f) => {
        const on = f.status === value;
        return (
          <button
            key={f.name}
            type="button"
            aria-pressed={on}
            onClick={() => onChange(f.status)}
            className={cx(
              "inline-flex h-7 items-center gap-1.5 rounded-md border px-2.5 text-xs",
              on
                ? "border-line-strong bg-hover font-semibold text-ink"
                : "border-transparent text-ink-2 hover:bg-hover hover:text-ink",
            )}
          >
            {f.name}
            {summary && (
              <span className={cx("num", on ? "text-ink-2" : "text-ink-3")}>{count(f.count(summary))}</span>
            )}
          </button>
        );
      })}
    </fieldset>
  );
}

function Table({ migrations, dimmed }: { migrations: Migration[]; dimmed: boolean }) {
  return (
    <table className={cx("w-full table-fixed border-collapse", dimmed && "opacity-60")} aria-busy={dimmed}>
      <caption className="sr-only">Migrations</caption>
      <thead className="text-left text-ink-3 text-xs max-md:sr-only">
        <tr className="border-b">
          <th scope="col" className="w-38 py-2 pr-2 pl-4 font-medium">
            Status
          </th>
          <th scope="col" className="px-2 py-2 font-medium">
            Migration
          </th>
          <th scope="col" className="w-44 px-2 py-2 font-medium max-lg:hidden">
            By
          </th>
          <th scope="col" className="w-20 px-2 py-2 text-right font-medium">
            Took
          </th>
          <th scope="col" className="w-28 px-2 py-2 text-right font-medium">
            Last attempt
          </th>
          <th scope="col" className="w-13 py-2 pr-4 pl-2">
            <span className="sr-only">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody className="divide-y divide-line/60">
        {migrations.map((m) => (
          <Row key={m.id} migration={m} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ migration: m }: { migration: Migration }) {
  const going = m.state === "running" && !m.died;
  return (
    <tr className="group relative hover:bg-hover max-md:grid max-md:grid-cols-[minmax(0,1fr)_auto] max-md:gap-x-3 max-md:gap-y-1 max-md:px-4 max-md:py-2.5">
      <td className="py-2 pr-2 pl-4 align-baseline max-md:row-start-2 max-md:p-0">
        <Badge state={m.status} column />
      </td>
      <td className="px-2 py-2 align-baseline max-md:col-span-2 max-md:p-0">
        <span className="flex min-w-0 items-baseline gap-2">
          <a
            href={href("migrations", m.id)}
            data-row
            className="row-link block min-w-0 after:absolute after:inset-0 focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:outline-[var(--focus)] focus-visible:after:-outline-offset-2"
          >
            <MigrationName line id={m.id} />
          </a>
          <Flags migration={m} />
        </span>
        {m.error && m.status !== "applied" && (
          <span className="tone-fail block truncate font-mono text-tone text-xs" title={m.error}>
            {m.error}
          </span>
        )}
      </td>
      <td className="px-2 py-2 align-baseline text-ink-2 text-xs max-lg:hidden">
        <Who holder={m.holder} />
      </td>
      <td className="px-2 py-2 text-right align-baseline text-ink-2 text-xs max-md:hidden">
        <Took ms={m.durationMs} since={m.startedAt} going={going} />
      </td>
      <td className="px-2 py-2 text-right align-baseline text-ink-2 text-xs max-md:row-start-2 max-md:self-center max-md:p-0">
        <Time at={m.finishedAt ?? m.startedAt} />
      </td>
      <td className="py-1 pr-4 pl-2 text-right max-md:hidden">
        <Actions migration={m} />
      </td>
    </tr>
  );
}

function Flags({ migration: m }: { migration: Migration }) {
  return (
    <>
      {m.edited && (
        <Flag tone="warn" title="The file changed since this was applied">
          <PencilLine size={10} aria-hidden /> edited
        </Flag>
      )}
      {m.language === "go" && (
        <Flag tone="idle" title="Written in Go">
          Go
        </Flag>
      )}
      {m.kind && m.kind !== "applied" && (
        <Flag tone="idle" title="Recorded without running here">
          {m.kind === "resolved" ? "set by hand" : m.kind}
        </Flag>
      )}
      {m.irreversible && (m.status === "applied" || m.status === "ahead") && (
        <Flag tone="idle" title={m.irreversible}>
          one way
        </Flag>
      )}
    </>
  );
}

function Actions({ migration: m }: { migration: Migration }) {
  const { session } = useShared();
  const run = useRunDialog();
  if (session.readOnly) return null;
  const undo = (m.status === "applied" || m.status === "ahead") && m.reversible !== false;
  const apply = ["pending", "rolled_back", "failed", "interrupted", "paused", "out_of_order"].includes(
    m.status,
  );
  if (!undo && !apply) return null;
  const label = undo ? `Roll back to before ${m.id}` : `Apply up to ${m.id}`;
  const Icon = undo ? Undo2 : Play;
  return (
    <button
      type="button"
      title={label}
      aria-label={label}
      onClick={() => run(undo ? { direction: "down", through: m.id } : { direction: "up", target: m.id })}
      className="relative z-10 inline-flex size-7 items-center justify-center rounded text-ink-3 hover:bg-panel hover:text-ink group-hover:text-ink-2"
    >
      <Icon size={14} aria-hidden />
    </button>
  );
}
