import { CircleAlert, CircleHelp } from "lucide-react";
import type { ReactNode } from "react";
import { detailOf, titleOf } from "../lib/problems.ts";
import type { Problem } from "../lib/types.ts";
import { LockLine } from "./holder.tsx";
import { Sql } from "./sql.tsx";

/** Refusal says why something was not done, and what may be done about it. */
export function Refusal({ problem, children }: { problem: Problem; children?: ReactNode }) {
  const ids = [
    ...(problem.edited ?? []),
    ...(problem.missing ?? []),
    ...(problem.ahead ?? []),
    ...(problem.late ?? []),
  ];
  const asks = problem.code === "unsure";
  const Icon = asks ? CircleHelp : CircleAlert;
  return (
    <div
      role="alert"
      className={`${asks ? "tone-warn" : "tone-fail"} flex gap-3 rounded-lg border border-tone-line bg-tone-bg px-4 py-3`}
    >
      <Icon size={17} aria-hidden className="mt-0.5 shrink-0 text-tone" />
      <div className="min-w-0 flex-1">
        <p className="font-semibold">{titleOf(problem)}</p>
        <p className="break-words text-ink-2">{detailOf(problem)}</p>
        {problem.hint && <p className="break-words text-ink-2">{problem.hint}</p>}
        {ids.length > 0 && (
          <ul className="mt-1.5 space-y-0.5">
            {ids.slice(0, 8).map((id) => (
              <li key={id} className="truncate font-mono text-xs">
                {id}
              </li>
            ))}
            {ids.length > 8 && <li className="text-ink-2 text-xs">and {ids.length - 8} more</li>}
          </ul>
        )}
        {problem.statement && (
          <div className="mt-2 max-h-40 overflow-auto rounded border bg-panel px-3 py-2">
            <Sql text={problem.statement} />
            {problem.pos && <p className="mt-1 font-mono text-2xs text-ink-2">{problem.pos}</p>}
          </div>
        )}
        {problem.lock?.held && (
          <div className="mt-1.5">
            <LockLine lock={problem.lock} />
          </div>
        )}
        {children}
      </div>
    </div>
  );
}
