import { useInfiniteQuery } from "@tanstack/react-query";
import { ChevronLeft } from "lucide-react";
import { api } from "../lib/api.ts";
import { plural } from "../lib/format.ts";
import { href } from "../lib/router.ts";
import { stateOf } from "../lib/status.ts";
import type { Execution } from "../lib/types.ts";
import {
  Badge,
  Button,
  CopyButton,
  ExactTime,
  Failure,
  Field,
  Panel,
  Skeleton,
  Took,
  Way,
} from "../parts/basics.tsx";
import { Compare } from "../parts/compare.tsx";
import { Who } from "../parts/holder.tsx";
import { Timeline } from "../parts/timeline.tsx";

export function ExecutionPage({ id, query }: { id: string; query: URLSearchParams }) {
  const detail = useInfiniteQuery({
    queryKey: ["execution", id, "pages"],
    queryFn: ({ signal, pageParam }) => api.execution(id, pageParam || undefined, signal),
    initialPageParam: "",
    getNextPageParam: (page) => page.next || undefined,
  });
  if (detail.error && !detail.data) {
    return (
      <div className="space-y-3">
        <Back />
        <h1 className="sr-only">Execution</h1>
        <Failure error={detail.error} retry={() => void detail.refetch()} />
      </div>
    );
  }
  const first = detail.data?.pages[0];
  if (!first) return <Skeleton lines={8} />;
  const attempts = detail.data?.pages.flatMap((page) => page.migrations) ?? [];
  const e = first.execution;
  return (
    <div className="space-y-4">
      <Header execution={e} />
      {e.error && (
        <div className="tone-fail rounded-lg border border-tone-line bg-tone-bg px-4 py-3">
          {e.errorMigration && (
            <p className="mb-1 text-sm">
              <span className="font-semibold text-tone">Failed in </span>
              <a className="link font-medium" href={href("migrations", e.errorMigration, { attempt: e.id })}>
                {e.errorMigration}
              </a>
            </p>
          )}
          <p className="break-words font-mono text-tone text-xs leading-5 whitespace-pre-wrap">{e.error}</p>
        </div>
      )}
      <Facts execution={e} />
      <Panel title="Migrations" id="migrations">
        <Timeline execution={e} attempts={attempts} />
        {detail.hasNextPage && (
          <div className="border-t px-4 py-2 text-center">
            <Button look="ghost" busy={detail.isFetchingNextPage} onClick={() => void detail.fetchNextPage()}>
              Show more of {plural(e.counts.total, "migration")}
            </Button>
          </div>
        )}
      </Panel>
      <Compare execution={e} attempts={attempts} other={query.get("with") ?? ""} />
    </div>
  );
}

function Back() {
  return (
    <a href={href("executions")} className="link inline-flex items-center gap-0.5 text-sm">
      <ChevronLeft size={14} aria-hidden /> Executions
    </a>
  );
}

function Header({ execution: e }: { execution: Execution }) {
  return (
    <div>
      <Back />
      <div className="mt-1 flex flex-wrap items-center gap-x-3 gap-y-1">
        <h1 className="font-semibold text-xl leading-7 tracking-tight">
          {e.direction === "down" ? "Rollback" : "Execution"} of {plural(e.counts.total, "migration")}
        </h1>
        <Badge state={stateOf(e)} />
      </div>
      <p className="flex min-w-0 items-center gap-1 font-mono text-ink-2 text-xs">
        <span className="truncate">{e.id}</span> <CopyButton text={e.id} what="the identifier" />
      </p>
    </div>
  );
}

function Facts({ execution: e }: { execution: Execution }) {
  const going = e.state === "running" && !e.died;
  return (
    <dl className="panel grid grid-cols-2 gap-x-6 gap-y-3 px-4 py-3.5 text-sm sm:grid-cols-3 lg:grid-cols-4">
      <Field name="Direction">
        <Way direction={e.direction} />
      </Field>
      <Field name="Took">
        <Took ms={e.durationMs} since={e.startedAt} going={going} />
      </Field>
      <Field name="Started">
        <ExactTime at={e.startedAt} />
      </Field>
      <Field name="Ended">{going ? "still running" : <ExactTime at={e.endedAt} />}</Field>
      <Field name="By">
        <Who holder={e.holder} />
      </Field>
      <Field name="Program">{e.operator ?? "–"}</Field>
      {e.reason && (
        <Field name="Reason" wide>
          {e.reason}
        </Field>
      )}
    </dl>
  );
}
