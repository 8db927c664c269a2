// The rules of the dialog that rolls back or applies, without the dialog.

import type { Plan } from "./types.ts";

export type Answers = { reason: string; confirm: string };

/** The longest reason that the server takes, in bytes of UTF-8. */
export const reasonLimit = 4000;

/** bareName returns a migration's name without its version: "order_totals". */
export function bareName(id: string): string {
  const i = id.indexOf("_");
  return i < 0 ? id : id.slice(i + 1);
}

/** confirms says whether the text names the migration: its identifier or its bare name, exactly. */
export function confirms(text: string, wanted: string): boolean {
  const typed = text.trim();
  return typed !== "" && (typed === wanted || typed === bareName(wanted));
}

/** moved says whether the history changed since the plan was made. An unknown head is not another head. */
export function moved(plan: Plan, head: string): boolean {
  return head !== "" && plan.head !== head;
}

/** missing says what is still missing before the button may be pressed; nothing means that it may. */
export function missing(plan: Plan, head: string, answers: Answers): string | undefined {
  if (moved(plan, head)) return "The history moved since this plan was made.";
  if (!plan.possible) return plan.blocked?.detail ?? "This is not possible now.";
  if (plan.count === 0) return "There is nothing to do.";
  const reason = answers.reason.trim();
  if (plan.needsReason && reason === "") return "Say why.";
  if (new TextEncoder().encode(reason).length > reasonLimit)
    return `The reason is longer than ${reasonLimit} bytes.`;
  if (plan.confirm && !confirms(answers.confirm, plan.confirm))
    return `Type ${bareName(plan.confirm)} to confirm.`;
  return undefined;
}
