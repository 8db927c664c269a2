// A run that was started here, from the request to its end.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, problemOf, type Started } from "../lib/api.ts";
import { plural } from "../lib/format.ts";
import { href } from "../lib/router.ts";
import { useShared } from "../lib/store.tsx";
import type { Attempt, ExecutionDetail, Problem, Run } from "../lib/types.ts";
import { Badge, Button, MigrationName } from "./basics.tsx";
import { LockLine } from "./holder.tsx";
import { Bar, ProgressLine } from "./progress.tsx";
import { Refusal } from "./refusal.tsx";
import { Timeline } from "./timeline.tsx";

/** hasEnded says whether nothing more will happen to a run. */
export function hasEnded(run: Run): boolean {
  return run.endedAt !== undefined || ["completed", "failed", "interrupted", "paused"].includes(run.state);
}

/**
 * settled puts together what this page was told about a run and what the history has of it. Where the run is
 * elsewhere, only the history knows how it goes on and ends.
 */
export function settled(told: Run, detail: ExecutionDetail | undefined): Run {
  const known = detail?.run ?? told;
  if (hasEnded(told)) return told;
  if (!detail || hasEnded(known) || known.state === "waiting") return known;
  return known.state === "requested" ? { ...known, state: detail.execution.state } : known;
}

type Props = { started: Started; onClose: () => void; onStarted: (started: Started) => void };

export function RunView({ started, onClose, onStarted }: Props) {
  const { live } = useShared();
  const told = live.run?.executionId === started.executionId ? live.run : started.run;
  const { data } = useQuery({
    queryKey: ["execution", started.executionId],
    queryFn: ({ signal }) => api.execution(started.executionId, undefined, signal),
    // Right after the request the history has nothing yet.
    retry: false,
    refetchInterval: (query) => {
      const ended = query.state.data && query.state.data.execution.state !== "running";
      return ended || hasEnded(told) ? false : 1500;
    },
  });
  const client = useQueryClient();
  const over = hasEnded(told);
  // Whatever was read before the end is not the end.
  useEffect(() => {
    if (over) void client.invalidateQueries({ queryKey: ["execution", started.executionId] });
  }, [over, client, started.executionId]);
  const run = settled(told, data);
  const ended = hasEnded(run);
  const asks = run.problem?.code === "unsure";
  const failed = data?.migrations.find((a) => a.state === "failed" || a.state === "interrupted");
  return (
    <>
      <div className="min-h-0 flex-1 space-y-4 overflow-y-auto px-5 py-4">
        <div className="flex flex-wrap items-center gap-3" aria-live="polite">
          <Badge state={asks ? "unsure" : run.state} />
          <span className="num text-ink-2 text-sm">{sentence(run, data?.migrations)}</span>
        </div>
        {!ended && <Going run={run} />}
        {run.problem && <Ended run={run} problem={run.problem} onStarted={onStarted} />}
        {run.error && !run.problem && (
          <p className="tone-fail break-words rounded-lg border border-tone-line bg-tone-bg px-4 py-2.5 font-mono text-tone text-xs leading-5 whitespace-pre-wrap">
            {run.error}
          </p>
        )}
        {data && data.migrations.length > 0 && (
          <div className="overflow-hidden rounded-lg border">
            <Timeline execution={data.execution} attempts={data.migrations} />
          </div>
        )}
      </div>
      <footer className="flex flex-wrap items-center justify-end gap-x-4 gap-y-2 border-t px-5 py-3">
        {!ended && <p className="mr-auto text-ink-2 text-xs">It goes on when this window is closed.</p>}
        {failed && (
          <a
            className="link text-sm"
            href={href("migrations", failed.id, { attempt: failed.executionId, statement: failed.done + 1 })}
            onClick={onClose}
          >
            Show the failing statement
          </a>
        )}
        {data && (
          <a className="link text-sm" href={href("executions", started.executionId)} onClick={onClose}>
            Open the execution
          </a>
        )}
        <Button look={ended && !asks ? "solid" : "plain"} onClick={onClose}>
          {ended && !asks ? "Done" : "Close"}
        </Button>
      </footer>
    </>
  );
}

function sentence(run: Run, attempts: Attempt[] | undefined): string {
  const done = attempts?.filter((a) => a.state === "completed").length ?? run.completed ?? 0;
  const word = run.direction === "down" ? "undone" : "applied";
  if (run.state === "completed") return `${plural(done, "migration")} ${word}.`;
  if (run.planned) return `${done} of ${plural(run.planned, "migration")} ${word}`;
  return "";
}

function Going({ run }: { run: Run }) {
  if (run.state === "waiting" && run.waitingFor) return <LockLine lock={run.waitingFor} />;
  if (run.state === "requested") return <Bar done={0} label="Waiting for the run to begin" moving />;
  return (
    <div className="space-y-2">
      {run.migration && <MigrationName line id={run.migration} />}
      <ProgressLine
        progress={run.progress}
        steps={run.planned}
        done={run.completed}
        startedAt={run.startedAt}
        label="Progress of the run"
        of="migrations"
      />
    </div>
  );
}

type EndedProps = { run: Run; problem: Problem; onStarted: (started: Started) => void };

/** Ended says why a run stopped. Of a statement that may have happened only a person can say whether it did. */
function Ended({ run, problem, onStarted }: EndedProps) {
  const { session } = useShared();
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<Problem>();
  const answer = async (unsure: "rerun" | "skip") => {
    setBusy(true);
    setRefused(undefined);
    try {
      const started = await api.start(run.direction, session.csrf, {
        target: run.target,
        reason: run.reason ?? "",
        unsure,
      });
      if (started) onStarted(started);
    } catch (error) {
      setRefused(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Refusal problem={problem}>
        {problem.code === "unsure" && run.direction === "up" && (
          <div className="mt-2.5 flex flex-wrap gap-2">
            <Button busy={busy} onClick={() => void answer("rerun")}>
              It did not happen: run it again
            </Button>
            <Button busy={busy} onClick={() => void answer("skip")}>
              It happened: go on after it
            </Button>
          </div>
        )}
      </Refusal>
      {refused && <Refusal problem={refused} />}
    </>
  );
}
