// Executions as rows; one opens to its migrations on a line of time.

import { useQuery } from "@tanstack/react-query";
import { ChevronRight } from "lucide-react";
import { useState } from "react";
import { api } from "../lib/api.ts";
import { count, plural, shortId } from "../lib/format.ts";
import { href } from "../lib/router.ts";
import { stateOf } from "../lib/status.ts";
import type { Execution } from "../lib/types.ts";
import { Badge, cx, Failure, MigrationName, Skeleton, Time, Took, Way } from "./basics.tsx";
import { Who } from "./holder.tsx";
import { Timeline } from "./timeline.tsx";

export function ExecutionRows({ executions, dense }: { executions: Execution[]; dense?: boolean }) {
  return (
    <ol className="divide-y divide-line/60">
      {executions.map((e) => (
        <Row key={e.id} execution={e} dense={dense} />
      ))}
    </ol>
  );
}

function Row({ execution: e, dense }: { execution: Execution; dense?: boolean }) {
  const [open, setOpen] = useState(false);
  const going = e.state === "running" && !e.died;
  return (
    <li>
      <button
        type="button"
        data-row
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className={cx(
          "row-link grid w-full grid-cols-[0.875rem_minmax(0,1fr)_auto] items-center gap-x-3 gap-y-0.5 px-4 py-2.5 text-left hover:bg-hover sm:grid-cols-[0.875rem_7.25rem_minmax(0,1fr)_auto]",
          !dense && "md:grid-cols-[0.875rem_7.25rem_minmax(0,1fr)_minmax(0,13rem)_5rem_5.5rem]",
        )}
      >
        <ChevronRight size={14} aria-hidden className={cx("text-ink-3", open && "rotate-90")} />
        <span className="max-sm:col-start-2">
          <Badge state={stateOf(e)} column />
        </span>
        <span className="min-w-0 max-sm:col-span-2 max-sm:col-start-2 max-sm:row-start-2">
          <Contents execution={e} />
        </span>
        <span className={cx("min-w-0 text-ink-2 text-xs max-sm:hidden", dense ? "hidden" : "max-md:hidden")}>
          <Who holder={e.holder} />
        </span>
        <span
          className={cx(
            "text-right text-ink-2 text-xs max-sm:col-start-3 max-sm:row-start-1",
            !dense && "md:hidden",
          )}
        >
          <Took ms={e.durationMs} since={e.startedAt} going={going} />
          <span className="text-ink-3"> · </span>
          <Time at={e.startedAt} />
        </span>
        {!dense && (
          <>
            <span className="text-right text-ink-2 text-xs max-md:hidden">
              <Took ms={e.durationMs} since={e.startedAt} going={going} />
            </span>
            <span className="text-right text-ink-2 text-xs max-md:hidden">
              <Time at={e.startedAt} />
            </span>
          </>
        )}
      </button>
      {open && <Opened execution={e} />}
    </li>
  );
}

/** Contents says what an execution was about, and how it ended where it did not go well. */
function Contents({ execution: e }: { execution: Execution }) {
  const { counts } = e;
  const bad = counts.failed + counts.interrupted;
  const what = e.errorMigration ?? e.last ?? e.first;
  return (
    <>
      <span className="flex min-w-0 items-baseline gap-2">
        <Way direction={e.direction} />
        {what && <MigrationName line tight id={what} />}
        {counts.total > 1 && (
          <span className="num shrink-0 text-ink-3 text-xs">
            {bad > 0
              ? `${count(counts.completed)} of ${plural(counts.total, "migration")} done`
              : plural(counts.total, "migration")}
          </span>
        )}
      </span>
      {e.error && <span className="tone-fail block truncate font-mono text-tone text-xs">{e.error}</span>}
    </>
  );
}

function Opened({ execution: e }: { execution: Execution }) {
  const detail = useQuery({
    queryKey: ["execution", e.id],
    queryFn: ({ signal }) => api.execution(e.id, undefined, signal),
  });
  return (
    <div className="border-t border-dashed bg-sunken">
      {detail.error && !detail.data ? (
        <div className="p-4">
          <Failure error={detail.error} retry={() => void detail.refetch()} />
        </div>
      ) : detail.data ? (
        <Timeline execution={detail.data.execution} attempts={detail.data.migrations} />
      ) : (
        <Skeleton lines={2} />
      )}
      <div className="flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-dashed px-4 py-2 text-ink-2 text-xs">
        <a href={href("executions", e.id)} className="link">
          Open execution <span className="font-mono">{shortId(e.id)}</span>
        </a>
        <Who holder={e.holder} />
        {e.reason && <span className="min-w-0 truncate">“{e.reason}”</span>}
      </div>
    </div>
  );
}
