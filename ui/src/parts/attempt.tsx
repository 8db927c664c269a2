// One attempt at a migration: what went wrong, what was sent, what it said.

import { useQuery } from "@tanstack/react-query";
import { ArrowDown } from "lucide-react";
import { useEffect, useRef } from "react";
import { api } from "../lib/api.ts";
import { count, plural } from "../lib/format.ts";
import { lookOf, stateOf } from "../lib/status.ts";
import type { Attempt } from "../lib/types.ts";
import { Button, CopyButton, ExecutionLink, Panel, Time } from "./basics.tsx";
import { Who } from "./holder.tsx";
import { Output } from "./output.tsx";
import { ProgressLine } from "./progress.tsx";
import { Sql } from "./sql.tsx";
import { type Mistake, Statements, wordOf } from "./statements.tsx";

type Props = { attempt: Attempt; newest: boolean; statement?: string | null };

export function AttemptView({ attempt: listed, newest, statement }: Props) {
  const going = stateOf(listed) === "running";
  // The list of attempts tells no more than when something began or ended; the
  // output of a running one grows in between.
  const fresh = useQuery({
    queryKey: ["migration", listed.id, "attempt", listed.executionId],
    queryFn: ({ signal }) => api.attempt(listed.id, listed.executionId, signal),
    enabled: going || listed.outputOmitted === true,
    refetchInterval: going ? 1000 : false,
  });
  const attempt = fresh.data && (going || listed.outputOmitted) ? { ...listed, ...fresh.data } : listed;
  const mistake: Mistake | undefined = attempt.error
    ? { index: attempt.errorIndex, text: attempt.error, pos: attempt.errorPos }
    : undefined;
  const word = wordOf(attempt.statements);
  // What SQL has to say is rare, and an empty box says nothing.
  const silent = !going && !attempt.output && attempt.statements?.every((s) => !s.go);
  useScrollTo(statement, attempt.statements !== undefined);
  return (
    <>
      {going && <Going attempt={attempt} />}
      {(attempt.error || stateOf(attempt) === "interrupted" || stateOf(attempt) === "paused") && (
        <Trouble attempt={attempt} newest={newest} />
      )}
      {attempt.statements && attempt.statements.length > 0 && (
        <Panel
          title={
            <>
              {word === "step" ? "Steps" : "Statements"}{" "}
              <span className="num ml-1 font-normal text-ink-3 text-xs">
                {count(attempt.done)} of {count(attempt.steps)} done
              </span>
            </>
          }
          id="statements"
          actions={
            <span className="text-ink-3 text-xs">
              execution <ExecutionLink id={attempt.executionId} />
            </span>
          }
        >
          {attempt.statementsFrom === "edited" && (
            <p className="tone-warn border-b border-tone-line bg-tone-bg px-4 py-2 text-sm">
              The file changed since. These are its statements as they are now, not as they ran.
            </p>
          )}
          {attempt.statementsFrom === "edited" ? (
            <Statements statements={attempt.statements} plain />
          ) : (
            <Statements statements={attempt.statements} mistake={mistake} />
          )}
        </Panel>
      )}
      {attempt.checkpoint !== undefined && <Checkpoint value={attempt.checkpoint} />}
      {!silent && (
        <Output
          text={attempt.output ?? ""}
          dropped={attempt.outputDropped ?? 0}
          truncated={attempt.outputTruncated}
          live={going}
          loading={attempt.outputOmitted && !fresh.data}
        />
      )}
    </>
  );
}

/** useScrollTo brings the statement that a link names into view, once. */
function useScrollTo(statement: string | null | undefined, loaded: boolean) {
  const done = useRef(false);
  useEffect(() => {
    if (!statement || !loaded || done.current) return;
    done.current = true;
    const reduced = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const target = document.getElementById(`statement-${statement}`);
    target?.scrollIntoView({ block: "center", behavior: reduced ? "auto" : "smooth" });
  }, [statement, loaded]);
}

function Going({ attempt: a }: { attempt: Attempt }) {
  return (
    <div className="panel px-4 py-3.5">
      <ProgressLine
        progress={a.progress}
        steps={a.steps}
        done={a.done}
        startedAt={a.startedAt}
        label={`Progress of ${a.id}`}
      />
    </div>
  );
}

/** Trouble says what went wrong, where, and what the next run will do. */
function Trouble({ attempt: a, newest }: { attempt: Attempt; newest: boolean }) {
  const state = stateOf(a);
  const look = lookOf(state);
  const Icon = look.icon;
  const index = a.errorIndex ?? (a.done < a.steps ? a.done : undefined);
  // The list below shows the text, unless it is not the one that ran.
  const listed =
    a.statements && a.statementsFrom !== "edited" && index !== undefined && index < a.statements.length;
  const text = listed ? undefined : a.errorStep;
  const word = wordOf(a.statements);
  // Those at the top of the list are in view already.
  const far = listed && (index ?? 0) > 2;
  return (
    <section
      aria-label={look.label}
      className={`tone-${look.tone} overflow-hidden rounded-lg border border-tone-line bg-panel shadow-[inset_4px_0_var(--tone-fill)]`}
    >
      <div className="flex flex-wrap items-start gap-x-4 gap-y-2 py-3.5 pr-4 pl-5">
        <div className="min-w-0 flex-1 basis-80">
          <h2 className="flex flex-wrap items-center gap-x-2">
            <Icon size={16} strokeWidth={2.25} aria-hidden className="shrink-0 text-tone" />
            <span className="font-semibold text-tone">
              {look.label}
              {index !== undefined && state === "failed" && ` at ${word} ${index + 1} of ${a.steps}`}
              {index !== undefined &&
                state !== "failed" &&
                ` after ${plural(a.done, word)} of ${count(a.steps)}`}
            </span>
            <Time at={a.finishedAt ?? a.startedAt} className="text-ink-2 text-sm" />
          </h2>
          {a.error && (
            <div className="mt-1 flex items-start gap-1">
              <p className="min-w-0 flex-1 break-words font-mono text-ink text-xs leading-5 whitespace-pre-wrap">
                {a.error}
              </p>
              <CopyButton
                text={[a.error, a.errorPos, a.errorStep].filter(Boolean).join("\n")}
                what="the error"
              />
            </div>
          )}
          {a.errorPos && <p className="mt-0.5 font-mono text-2xs text-ink-2">{a.errorPos}</p>}
          {a.died && (
            <p className="mt-1.5 text-sm">
              {ended} <Who holder={a.holder} whole />
            </p>
          )}
          {newest && <p className="mt-1.5 text-ink-2 text-sm">{advice(a)}</p>}
        </div>
        <div className="flex flex-wrap gap-2">
          {far && (
            <Button
              look="ghost"
              onClick={() =>
                document
                  .getElementById(`statement-${(index ?? 0) + 1}`)
                  ?.scrollIntoView({ block: "center", behavior: "smooth" })
              }
            >
              <ArrowDown size={13} aria-hidden /> {word === "step" ? "Step" : "Statement"} {(index ?? 0) + 1}
            </Button>
          )}
        </div>
      </div>
      {text && (
        <div className="max-h-72 overflow-auto border-tone-line border-t bg-tone-bg py-2.5 pr-4 pl-5">
          <p className="label mb-1">The statement that failed, as it ran</p>
          <Sql text={text} />
        </div>
      )}
    </section>
  );
}

/** ended says of an attempt that died how that is known. */
export const ended = "Its process was killed, or lost the database: nobody renewed its lock, and it ran out.";

/** advice says what the next run does with an unfinished attempt. */
export function advice(a: Attempt): string {
  const next = a.done + 1;
  const word = wordOf(a.statements);
  if (a.begun !== undefined && a.begun > a.done) {
    return `${word === "step" ? "Step" : "Statement"} ${next} may have happened. The next run looks in the database first, and asks where that does not tell.`;
  }
  if (a.checkpoint !== undefined) return "The next run goes on from its checkpoint.";
  if (a.done > 0) return `What is done stays done: the next run goes on with ${word} ${next}.`;
  return "Nothing of it was kept: the next run begins again.";
}

function Checkpoint({ value }: { value: unknown }) {
  const text = JSON.stringify(value, null, 2);
  return (
    <Panel
      title="Checkpoint"
      id="checkpoint"
      actions={
        <>
          <span className="text-ink-3 text-xs">where the next run goes on</span>
          <CopyButton text={text} what="the checkpoint" />
        </>
      }
    >
      <pre
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must do so by keyboard
        tabIndex={0}
        className="max-h-72 overflow-auto px-4 py-3 text-xs leading-5"
      >
        {text}
      </pre>
    </Panel>
  );
}
