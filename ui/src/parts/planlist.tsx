import { Ban, ChevronRight } from "lucide-react";
import { useState } from "react";
import { plural } from "../lib/format.ts";
import type { Plan, PlanItem } from "../lib/types.ts";
import { Button, cx, Flag, MigrationName } from "./basics.tsx";
import { Sql } from "./sql.tsx";

const pageSize = 50;

/** PlanList shows a plan's migrations in the order in which they run. */
export function PlanList({ plan }: { plan: Plan }) {
  const [limit, setLimit] = useState(pageSize);
  const shown = plan.items.slice(0, limit);
  return (
    <>
      {shown.length > 0 && (
        <ol className="divide-y rounded-lg border" aria-label="Plan">
          {shown.map((item, i) => (
            <Item key={item.id} item={item} place={i + 1} />
          ))}
        </ol>
      )}
      {limit < plan.items.length && (
        <Button look="ghost" onClick={() => setLimit(limit + 10 * pageSize)}>
          Show {plural(plan.items.length - limit, "migration")} more
        </Button>
      )}
      {plan.count > plan.items.length && (
        <p className="text-ink-2 text-xs">
          And {plural(plan.count - plan.items.length, "migration")} more after these.
        </p>
      )}
      {plan.skipped && plan.skipped.length > 0 && (
        <details className="text-sm">
          <summary className="text-ink-2">{plural(plan.skipped.length, "migration")} left out</summary>
          <ul className="mt-1.5 space-y-1 pl-4">
            {plan.skipped.map((s) => (
              <li key={s.id}>
                <MigrationName id={s.id} /> <span className="text-ink-2">{s.reason}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function Item({ item, place }: { item: PlanItem; place: number }) {
  const [open, setOpen] = useState(false);
  const down = item.direction === "down";
  return (
    <li className={cx(item.irreversible && "tone-fail")}>
      <button
        type="button"
        aria-expanded={open}
        disabled={!item.statements?.length}
        onClick={() => setOpen(!open)}
        className="flex w-full items-center gap-2.5 px-3 py-2 text-left enabled:hover:bg-hover disabled:cursor-default"
      >
        <span className="num w-5 shrink-0 text-right text-ink-3 text-xs">{place}</span>
        <span aria-hidden className={cx(down ? "tone-undo" : "tone-ok", "text-tone")}>
          {down ? "↓" : "↑"}
        </span>
        <MigrationName
          line
          id={item.id}
          className={cx("flex-1", item.irreversible && "line-through opacity-70")}
        />
        {item.resumes && (
          <Flag tone="warn" title="An earlier attempt did some of it">
            goes on
          </Flag>
        )}
        {item.irreversible ? (
          <Flag tone="fail" title={item.irreversible}>
            <Ban size={10} aria-hidden /> irreversible
          </Flag>
        ) : (
          <span className="num shrink-0 text-ink-3 text-xs">{plural(item.steps, "step")}</span>
        )}
        {item.statements?.length ? (
          <ChevronRight size={14} aria-hidden className={cx("shrink-0 text-ink-3", open && "rotate-90")} />
        ) : null}
      </button>
      {item.irreversible && <p className="px-3 pb-2 pl-11 text-sm text-tone">{item.irreversible}</p>}
      {open && (
        <div className="space-y-2 border-t border-dashed bg-sunken px-4 py-2.5">
          {item.statements?.map((s, i) =>
            s.go ? (
              <p key={i} className="font-mono text-xs">
                {s.sql} <span className="text-ink-3">(a Go function)</span>
              </p>
            ) : (
              <Sql key={i} text={s.sent ?? s.sql} />
            ),
          )}
        </div>
      )}
    </li>
  );
}
