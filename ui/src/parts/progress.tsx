import { useClock } from "../lib/clock.ts";
import { count, duration, eta, parseTime, percent } from "../lib/format.ts";
import type { Progress } from "../lib/types.ts";
import { cx } from "./basics.tsx";

/** Bar is a progress bar; without a total it only moves. */
export function Bar({
  done,
  total,
  label,
  moving,
}: {
  done: number;
  total?: number;
  label: string;
  moving?: boolean;
}) {
  const share = total ? Math.min(100, (100 * done) / total) : 100;
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={total || undefined}
      aria-valuenow={total ? Math.min(done, total) : undefined}
      className="tone-run h-2 overflow-hidden rounded bg-hover"
    >
      <div
        className={cx(
          "bar h-full transition-[width] duration-500",
          moving && "bar-moving",
          !total && "pulse",
        )}
        style={{ width: `${share}%` }}
      />
    </div>
  );
}

/** leftOf words an estimate, which is never exact to less than a second. */
export function leftOf(ms: number): string {
  if (ms < 1500) return "about a second left";
  return `about ${duration(Math.round(ms / 1000) * 1000).replace(".0", "")} left`;
}

/** ProgressLine is a bar with numbers: how much is done, how fast, and when it may end. */
export function ProgressLine(props: {
  progress?: Progress;
  steps?: number;
  done?: number;
  startedAt?: string;
  label: string;
  /** What steps counts. */
  of?: string;
}) {
  const { progress, steps = 0, done = 0, startedAt, label, of = "steps" } = props;
  const began = parseTime(startedAt)?.getTime();
  // A step's own progress tells more than the number of steps, if there is any.
  const fine = progress && (progress.total || progress.done > 0);
  const now = fine ? progress.done : done;
  const total = fine ? progress.total : steps;
  const unit = fine ? (progress.unit ?? "") : of;
  const left = useClock((current) => {
    if (progress?.etaSeconds !== undefined) return leftOf(progress.etaSeconds * 1000);
    if (!fine || began === undefined) return "";
    const ms = eta(began, current, progress.done, progress.total ?? 0);
    return ms === undefined ? "" : leftOf(ms);
  });
  const rate = progress?.ratePerSecond;
  return (
    <div>
      <Bar done={now} total={total} label={label} moving />
      <div className="num mt-1.5 flex flex-wrap justify-between gap-x-4 text-ink-2 text-xs">
        <span>
          {total ? `${count(now)} of ${count(total)} ${unit}` : `${count(now)} ${unit}`}
          {total ? <span className="text-ink-3"> · {percent(now, total)}</span> : null}
          {fine && steps > 1 && of === "steps" && (
            <span className="text-ink-3">
              {" "}
              · step {Math.min(done + 1, steps)} of {steps}
            </span>
          )}
          {rate ? <span className="text-ink-3"> · {count(rate)}/s</span> : null}
        </span>
        <span>{left}</span>
      </div>
      {progress?.activity && <p className="mt-1 text-ink-2 text-xs">{progress.activity}</p>}
    </div>
  );
}
