// The statements of a migration: as sent, how long each took, and which failed.

import { Check, ChevronRight, Circle, CircleHelp, LoaderCircle, Undo2, X } from "lucide-react";
import { type ReactNode, useState } from "react";
import { duration, plural } from "../lib/format.ts";
import { lineWithin } from "../lib/place.ts";
import { firstLine } from "../lib/sqltext.ts";
import type { Statement } from "../lib/types.ts";
import { Button, CopyButton, cx, Flag } from "./basics.tsx";
import { Sql } from "./sql.tsx";

const marks = {
  done: { icon: Check, tone: "ok", word: "done" },
  running: { icon: LoaderCircle, tone: "run", word: "running" },
  failed: { icon: X, tone: "fail", word: "failed" },
  pending: { icon: Circle, tone: "idle", word: "not run" },
  unsure: { icon: CircleHelp, tone: "warn", word: "may have run" },
  undone: { icon: Undo2, tone: "idle", word: "ran, undone" },
} as const;

const markOf = (s: Statement) => marks[s.state ?? "pending"] ?? marks.pending;

/** wordOf says what the steps of a migration are called. */
export function wordOf(statements: Statement[] | undefined): "statement" | "step" {
  return statements && statements.length > 0 && statements.every((s) => s.go) ? "step" : "statement";
}

/** So many statements are drawn at once; a file of inserts can have thousands. */
const pageSize = 100;
/** Up to so many are all open. */
const openUpTo = 12;

export type Mistake = { index?: number; text: string; pos?: string };

/** firstShown is where the drawn part begins: a failure far down must be in it. */
export function firstShown(count: number, failed: number | undefined): number {
  if (failed === undefined || failed < pageSize) return 0;
  return Math.max(0, Math.min(failed - 10, count - pageSize));
}

type Props = { statements: Statement[]; mistake?: Mistake; plain?: boolean };

/** Statements lists them. Plain ones are those of a file, which nothing has run. */
export function Statements({ statements, mistake, plain }: Props) {
  const found = mistake?.index ?? statements.findIndex((s) => s.state === "failed");
  const failed = found < 0 ? undefined : found;
  const [from, setFrom] = useState(() => firstShown(statements.length, failed));
  const [to, setTo] = useState(from + pageSize);
  const slowest = Math.max(0, ...statements.map((s) => s.durationMs ?? 0));
  return (
    <>
      {from > 0 && (
        <More onClick={() => setFrom(Math.max(0, from - pageSize))}>
          Show {plural(from, "statement")} above
        </More>
      )}
      <ol className="divide-y divide-line/60" start={from + 1}>
        {statements.slice(from, to).map((s) => (
          <Row
            key={s.index}
            statement={s}
            slowest={slowest}
            plain={plain}
            open={
              statements.length <= openUpTo || !["done", "pending", "undone"].includes(s.state ?? "pending")
            }
            mistake={s.index === failed ? mistake : undefined}
          />
        ))}
      </ol>
      {to < statements.length && (
        <More onClick={() => setTo(to + pageSize)}>
          Show {plural(statements.length - to, "statement")} more
        </More>
      )}
    </>
  );
}

function More({ onClick, children }: { onClick: () => void; children: ReactNode }) {
  return (
    <div className="border-y px-4 py-2 text-center">
      <Button look="ghost" onClick={onClick}>
        {children}
      </Button>
    </div>
  );
}

type RowProps = { statement: Statement; slowest: number; open: boolean; mistake?: Mistake; plain?: boolean };

function Row({ statement: s, slowest, open: initially, mistake, plain }: RowProps) {
  const [toggled, setToggled] = useState<boolean>();
  const [written, setWritten] = useState(false);
  const mark = markOf(s);
  const rewritten = s.sent !== undefined && s.sent !== s.sql;
  const text = (rewritten && !written ? s.sent : s.sql) ?? "";
  const lines = text.split("\n").length;
  const folds = lines > 1 && !s.go;
  const open = toggled ?? initially;
  // What is at this place now need not be what failed there.
  const failed = s.state === "failed" && !plain;
  const marked = failed && !rewritten && lines > 1 ? lineWithin(s.pos, s.sql, mistake?.pos) : undefined;
  return (
    <li
      id={`statement-${s.index + 1}`}
      className={cx(
        !plain && `tone-${mark.tone}`,
        "scroll-mt-20",
        failed && "bg-tone-bg/45 shadow-[inset_3px_0_var(--tone-fill)]",
      )}
    >
      <div className="flex items-start gap-2.5 py-2 pr-3 pl-4">
        <Gutter statement={s} plain={plain} folds={folds} open={open} onToggle={() => setToggled(!open)} />
        <div className="min-w-0 flex-1 pt-0.5">
          {s.go || (folds && !open) ? (
            <p className="truncate font-mono text-xs leading-5">{s.go ? s.sql : firstLine(text)}</p>
          ) : (
            <Sql text={text} mark={marked} />
          )}
        </div>
        {s.go && (
          <span className="flex h-6 items-center">
            <Flag tone="idle" title="A Go function">
              Go
            </Flag>
          </span>
        )}
        {!plain && <Timing statement={s} slowest={slowest} word={mark.word} />}
        <CopyButton text={text} what={`statement ${s.index + 1}`} />
      </div>
      {s.truncated && open && (
        <p className="pr-4 pb-2 pl-20 text-ink-3 text-xs">It is longer than this, and was cut here.</p>
      )}
      {rewritten && open && (
        <Rewritten changes={s.changes} written={written} onToggle={() => setWritten(!written)} />
      )}
      {s.refused && <p className="tone-warn pr-4 pb-2.5 pl-20 text-sm text-tone">{s.refused}</p>}
      {mistake && (
        <div className="tone-fail border-tone-line border-t bg-tone-bg py-2.5 pr-4 pl-20">
          <p className="break-words font-mono text-tone text-xs leading-5 whitespace-pre-wrap">
            {mistake.text}
          </p>
          {(mistake.pos ?? s.pos) && (
            <p className="mt-1 font-mono text-2xs text-ink-2">{mistake.pos ?? s.pos}</p>
          )}
        </div>
      )}
    </li>
  );
}

type GutterProps = {
  statement: Statement;
  plain?: boolean;
  folds: boolean;
  open: boolean;
  onToggle: () => void;
};

/** Gutter has what stands left of a statement: its state and its number, and what folds it. */
function Gutter({ statement: s, plain, folds, open, onToggle }: GutterProps) {
  const mark = markOf(s);
  const Icon = mark.icon;
  const chevron = (
    <ChevronRight size={13} aria-hidden className={cx(open && "rotate-90", !folds && "invisible")} />
  );
  return (
    <span className="flex h-6 shrink-0 items-center gap-1.5">
      {folds ? (
        <button
          type="button"
          aria-expanded={open}
          aria-label={`Statement ${s.index + 1}`}
          onClick={onToggle}
          className="-ml-1.5 rounded p-0.5 text-ink-3 hover:bg-hover hover:text-ink"
        >
          {chevron}
        </button>
      ) : (
        <span className="-ml-1.5 p-0.5">{chevron}</span>
      )}
      {!plain && (
        <Icon
          size={14}
          strokeWidth={2.5}
          aria-hidden
          className={cx("text-tone", s.state === "running" && "animate-spin")}
        />
      )}
      <span className="num min-w-4 text-right text-ink-3 text-xs">{s.index + 1}</span>
    </span>
  );
}

type RewrittenProps = { changes?: string[]; written: boolean; onToggle: () => void };

function Rewritten({ changes, written, onToggle }: RewrittenProps) {
  return (
    <div className="flex flex-wrap items-start gap-x-3 gap-y-1 pr-4 pb-2.5 pl-20 text-ink-2 text-xs">
      <Flag tone="undo" title="The database gets another text than the file has">
        {written ? "as written" : "as sent"}
      </Flag>
      <ul className="min-w-0 flex-1 basis-64 space-y-0.5">
        {changes?.map((change) => (
          <li key={change}>{change}</li>
        ))}
      </ul>
      <button type="button" className="link" onClick={onToggle}>
        {written ? "Show as sent" : "Show as written"}
      </button>
    </div>
  );
}

function Timing({ statement: s, slowest, word }: { statement: Statement; slowest: number; word: string }) {
  if (s.durationMs === undefined) {
    return (
      <span className={cx("shrink-0 pt-0.5 text-xs leading-5", s.state === "done" ? "sr-only" : "text-tone")}>
        {word}
      </span>
    );
  }
  const share = slowest > 0 ? Math.max(2, (100 * s.durationMs) / slowest) : 0;
  return (
    <span className="flex h-6 shrink-0 items-center gap-2">
      <span className="hidden w-20 justify-end sm:flex" aria-hidden>
        <span
          className={cx(
            s.state === "failed" ? "tone-fail" : "tone-idle",
            "block h-1.5 rounded-sm bg-tone-fill",
          )}
          style={{ width: `${share}%` }}
        />
      </span>
      <span className="num min-w-12 text-right text-ink-2 text-xs">
        {duration(s.durationMs)}
        <span className="sr-only">, {word}</span>
      </span>
    </span>
  );
}
