// The small parts that every page is made of.

import { Check, Copy, Inbox, LoaderCircle, RotateCw, TriangleAlert } from "lucide-react";
import { type ButtonHTMLAttributes, type ReactNode, useEffect, useRef, useState } from "react";
import { problemOf } from "../lib/api.ts";
import { now, useClock } from "../lib/clock.ts";
import { duration, exact, parseTime, relative, shortId } from "../lib/format.ts";
import { titleOf } from "../lib/problems.ts";
import { href } from "../lib/router.ts";
import { lookOf, type Tone } from "../lib/status.ts";
import type { Direction } from "../lib/types.ts";

/** cx joins class names, leaving out what is false. */
export function cx(...names: (string | false | undefined)[]): string {
  return names.filter(Boolean).join(" ");
}

/** Badge tells a state by icon, word and colour. What is as it should be has no box, so that the rest stands out. */
export function Badge({
  state,
  column,
}: {
  state: string /** One of many below each other. */;
  column?: boolean;
}) {
  const look = lookOf(state);
  const Icon = look.icon;
  const quiet = look.tone === "ok" || look.tone === "idle" || look.tone === "undo";
  return (
    <span
      title={look.means}
      className={cx(
        `tone-${look.tone}`,
        // The baseline is that of the word, so that it stands in line with what is beside it.
        "inline-flex shrink-0 items-baseline gap-1.5 font-medium text-tone text-xs leading-5 whitespace-nowrap",
        quiet ? "py-px" : "rounded-md border border-tone-line bg-tone-bg px-1.5",
        !quiet && column && "-ml-1.5",
      )}
    >
      <Icon
        size={13}
        strokeWidth={2.25}
        aria-hidden
        className={cx("self-center", state === "running" && "animate-spin")}
      />
      {look.label}
    </span>
  );
}

/** Flag is a smaller remark beside a status. */
export function Flag({ tone, title, children }: { tone: Tone; title: string; children: ReactNode }) {
  return (
    <span
      title={title}
      className={cx(
        `tone-${tone}`,
        "inline-flex h-4.5 shrink-0 items-center gap-1 self-center rounded border border-tone-line px-1.5 font-medium text-2xs text-tone whitespace-nowrap",
      )}
    >
      {children}
    </span>
  );
}

/** Time says how long ago something was; the exact time is in its title. */
export function Time({ at, className }: { at: string | undefined; className?: string }) {
  const date = parseTime(at);
  const text = useClock((current) => (date ? relative(date, current) : "–"));
  if (!date) return <span className="text-ink-3">–</span>;
  return (
    <time
      dateTime={date.toISOString()}
      title={exact(date)}
      className={cx("num whitespace-nowrap", className)}
    >
      {text}
    </time>
  );
}

/** ExactTime writes a time out, with the relative one behind it. */
export function ExactTime({ at }: { at: string | undefined }) {
  const date = parseTime(at);
  const text = useClock((current) => (date ? relative(date, current) : ""));
  if (!date) return <span className="text-ink-3">–</span>;
  return (
    <time dateTime={date.toISOString()} className="num">
      {exact(date)} <span className="text-ink-3 whitespace-nowrap">({text})</span>
    </time>
  );
}

/** Took writes a duration; of something that is still going it counts on. */
export function Took({ ms, since, going }: { ms?: number; since?: string; going?: boolean }) {
  const start = parseTime(since)?.getTime();
  const text = useClock((current) => {
    if (going && start !== undefined)
      return duration(Math.max(0, Math.floor((current - start) / 1000) * 1000));
    return ms === undefined ? "–" : duration(ms);
  });
  return <span className={cx("num whitespace-nowrap", text === "–" && "text-ink-3")}>{text}</span>;
}

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & {
  look?: "plain" | "solid" | "danger" | "ghost";
  busy?: boolean;
};

const buttonLooks = {
  plain: "border-line-strong bg-panel text-ink hover:bg-hover",
  solid: "border-transparent bg-accent-solid text-on-accent hover:opacity-90",
  danger: "border-transparent bg-danger-solid text-on-danger hover:opacity-90",
  ghost: "border-transparent bg-transparent text-ink-2 hover:bg-hover hover:text-ink",
};

/** Button is a button; while busy it cannot be pressed and says so. */
export function Button({ look = "plain", busy, className, children, disabled, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      disabled={disabled || busy}
      aria-busy={busy || undefined}
      className={cx(
        "inline-flex h-8 shrink-0 items-center justify-center gap-1.5 rounded-md border px-3 font-medium text-sm whitespace-nowrap select-none disabled:opacity-45",
        buttonLooks[look],
        className,
      )}
    >
      {busy && <LoaderCircle size={14} aria-hidden className="animate-spin" />}
      {children}
    </button>
  );
}

/** CopyButton copies text, and says that it did. */
export function CopyButton({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return; // forbidden: the text can still be selected
    }
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button
      type="button"
      onClick={copy}
      title={`Copy ${what}`}
      className="inline-flex size-6 shrink-0 items-center justify-center rounded text-ink-3 hover:bg-hover hover:text-ink"
    >
      {copied ? (
        <Check size={13} aria-hidden className="tone-ok text-tone" />
      ) : (
        <Copy size={13} aria-hidden />
      )}
      <span className="sr-only" aria-live="polite">
        {copied ? "Copied" : `Copy ${what}`}
      </span>
    </button>
  );
}

/**
 * MigrationName writes an identifier so that the name stands out and the version stays readable. On one line the
 * version gives way before the name does: names are what people know.
 */
export function MigrationName(props: {
  id: string;
  line?: boolean;
  /** On a phone there is only room for the name. */
  tight?: boolean;
  className?: string;
}) {
  const { id, line, tight, className } = props;
  const i = id.indexOf("_");
  const [version, name] = i > 0 ? [id.slice(0, i), id.slice(i + 1)] : [id, ""];
  return (
    <span
      className={cx(line ? "flex min-w-0 items-baseline" : "[overflow-wrap:anywhere]", className)}
      title={id}
    >
      <span
        className={cx(
          "num font-mono text-[0.92em] text-ink-3",
          line && name && "min-w-9 shrink-[999] truncate",
          tight && name && "max-sm:sr-only",
        )}
      >
        {version}
      </span>
      {name && <span className="sr-only">_</span>}
      {name && (
        <span className={cx("font-medium", tight ? "sm:ml-2" : "ml-2", line && "min-w-0 truncate")}>
          {name}
        </span>
      )}
    </span>
  );
}

/** ExecutionLink leads to an execution, by the part of its identifier that tells it from others. */
export function ExecutionLink({ id }: { id: string }) {
  return (
    <a href={href("executions", id)} title={`Execution ${id}`} className="link font-mono text-xs">
      {shortId(id)}
    </a>
  );
}

/** Way says up or down in an arrow and a word. */
export function Way({ direction }: { direction: Direction }) {
  return (
    <span className="inline-flex items-center gap-1 whitespace-nowrap">
      <span aria-hidden className={direction === "down" ? "tone-undo text-tone" : "tone-ok text-tone"}>
        {direction === "down" ? "↓" : "↑"}
      </span>
      {direction}
    </span>
  );
}

/** Panel is a box with a heading and, at its right, actions. */
export function Panel(props: {
  title: ReactNode;
  id?: string;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
}) {
  const { title, id, actions, children, className } = props;
  return (
    <section className={cx("panel min-w-0", className)} aria-labelledby={id}>
      <header className="flex min-h-11 flex-wrap items-center gap-x-3 gap-y-1 border-b px-4 py-1.5">
        <h2 id={id} className="font-semibold text-sm">
          {title}
        </h2>
        <div className="ml-auto flex items-center gap-1.5">{actions}</div>
      </header>
      {children}
    </section>
  );
}

/** Empty says that there is nothing, and why. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-1 px-6 py-12 text-center">
      <Inbox size={22} strokeWidth={1.5} aria-hidden className="mb-1 text-ink-3" />
      <p className="font-medium">{title}</p>
      <div className="max-w-prose text-ink-2 text-sm">{children}</div>
    </div>
  );
}

/** Failure shows why something could not be read, and offers to try again. */
export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = problemOf(error);
  return (
    <div
      role="alert"
      className="tone-fail flex gap-3 rounded-lg border border-tone-line bg-tone-bg px-4 py-3"
    >
      <TriangleAlert size={18} aria-hidden className="mt-0.5 shrink-0 text-tone" />
      <div className="min-w-0 flex-1">
        <p className="font-semibold">{titleOf(problem)}</p>
        <p className="break-words text-ink-2">{problem.detail}</p>
        {problem.hint && <p className="text-ink-2">{problem.hint}</p>}
        {retry && (
          <Button className="mt-2" onClick={retry}>
            <RotateCw size={13} aria-hidden /> Try again
          </Button>
        )}
      </div>
    </div>
  );
}

/** Skeleton holds the place of lines that are still being read. */
export function Skeleton({ lines = 3 }: { lines?: number }) {
  return (
    <div className="space-y-2.5 p-4" role="status">
      <span className="sr-only">Loading</span>
      {Array.from({ length: lines }, (_, i) => (
        <div key={i} className={cx("pulse h-4 rounded bg-hover", i % 3 === 2 ? "w-2/3" : "w-full")} />
      ))}
    </div>
  );
}

/** Field is one fact in a list of facts. */
export function Field({ name, wide, children }: { name: string; wide?: boolean; children: ReactNode }) {
  return (
    <div className={cx("min-w-0", wide && "col-span-full")}>
      <dt className="label">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </div>
  );
}

/** Kbd is a key. */
export function Kbd({ children }: { children: ReactNode }) {
  return (
    <kbd className="inline-flex h-5 min-w-5 items-center justify-center rounded border border-line-strong bg-sunken px-1 text-2xs text-ink-2">
      {children}
    </kbd>
  );
}

/** ageOf returns how many milliseconds ago a time was, on the server's clock. */
export function ageOf(at: string | undefined): number | undefined {
  const date = parseTime(at);
  return date && now() - date.getTime();
}
