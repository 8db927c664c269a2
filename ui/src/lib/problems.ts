// What each refusal is called. Its detail and its hint are the server's.

import type { Problem } from "./types.ts";

const titles: Record<string, string> = {
  bad_cursor: "This page of the list is gone",
  busy: "A run that was started here is still going",
  changed: "Applied migrations were changed",
  confirmation_required: "The name is not the right one",
  csrf: "This page is out of date: reload it",
  half_done: "Something is half done",
  head_moved: "The history moved",
  irreversible: "This cannot be undone",
  locked: "Somebody else holds the lock",
  not_found: "There is no such thing",
  nothing_to_do: "There is nothing to do",
  out_of_order: "Something is out of order",
  read_only: "This dashboard may only read",
  reason_required: "A reason is needed",
  reason_too_long: "The reason is too long",
  start_failed: "The run could not be started",
  store_unavailable: "The history does not answer",
  unknown_target: "There is no such migration",
  unsure: "Did this statement happen?",
};

/** detailOf says more about a problem: the server's words, unless they are for a terminal. */
export function detailOf(problem: Problem): string {
  if (problem.code !== "unsure") return problem.detail;
  return "An earlier run ended in the middle of it, and the database does not tell. Look at the data, then answer.";
}

/** titleOf says in a few words what a problem is. */
export function titleOf(problem: Problem): string {
  return titles[problem.code] ?? problem.title;
}
