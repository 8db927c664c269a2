import { count } from "../lib/format.ts";
import { href } from "../lib/router.ts";
import { lookOf, stateOf } from "../lib/status.ts";
import type { Attempt, Migration } from "../lib/types.ts";
import { Button, cx, Panel, Time, Took, Way } from "./basics.tsx";

type Props = {
  migration: Migration;
  attempts: Attempt[];
  selected?: string | null;
  older?: () => void;
  newer?: () => void;
};

/** AttemptList is a migration's history: every attempt, the newest first. */
export function AttemptList({ migration, attempts, selected, older, newer }: Props) {
  return (
    <Panel
      title="Attempts"
      id="attempts"
      actions={attempts.length > 1 && <N n={attempts.length} more={!!older} />}
    >
      {attempts.length === 0 ? (
        <p className="px-4 py-3 text-ink-2">None yet.</p>
      ) : (
        <ol className="divide-y divide-line/60">
          {attempts.map((a) => (
            <Row key={a.executionId} migration={migration} attempt={a} on={a.executionId === selected} />
          ))}
        </ol>
      )}
      {(older || newer) && (
        <div className="flex gap-2 border-t px-4 py-2">
          {newer && (
            <Button className="h-7" onClick={newer}>
              Newer
            </Button>
          )}
          {older && (
            <Button className="ml-auto h-7" onClick={older}>
              Older
            </Button>
          )}
        </div>
      )}
    </Panel>
  );
}

function N({ n, more }: { n: number; more: boolean }) {
  return (
    <span className="num text-ink-3 text-xs">
      {count(n)}
      {more && "+"}
    </span>
  );
}

function Row({ migration: m, attempt: a, on }: { migration: Migration; attempt: Attempt; on: boolean }) {
  const state = stateOf(a);
  const look = lookOf(state);
  const Icon = look.icon;
  const going = state === "running";
  return (
    <li className={`tone-${look.tone}`}>
      <a
        href={href("migrations", m.id, { attempt: a.executionId })}
        data-row
        aria-current={on ? "true" : undefined}
        className={cx(
          "row-link flex items-center gap-2.5 px-4 py-2 text-sm",
          on ? "bg-hover shadow-[inset_3px_0_var(--accent)]" : "hover:bg-hover",
        )}
      >
        <Icon
          size={15}
          strokeWidth={2.25}
          aria-hidden
          className={cx("shrink-0 text-tone", going && "animate-spin")}
        />
        <span className="min-w-0 flex-1">
          <span className="flex items-baseline gap-2">
            <span className="font-medium">{look.label}</span>
            <span className="text-ink-2 text-xs">
              <Way direction={a.direction} />
            </span>
          </span>
          <span className="block text-ink-3 text-xs">
            <Time at={a.startedAt} />
          </span>
        </span>
        <span className="shrink-0 text-ink-2 text-xs">
          <Took ms={a.durationMs} since={a.startedAt} going={going} />
        </span>
      </a>
    </li>
  );
}
