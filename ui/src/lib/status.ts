// What each status is called, which tone and icon tell it, and what it means.

import {
  ArrowDownUp,
  CircleCheck,
  CircleDashed,
  CircleHelp,
  CirclePause,
  FastForward,
  FileX2,
  Hourglass,
  Layers,
  LoaderCircle,
  type LucideIcon,
  OctagonX,
  Undo2,
  Unplug,
} from "lucide-react";
import type { State, Status } from "./types.ts";

export type Tone = "ok" | "fail" | "run" | "warn" | "undo" | "idle";
export type Look = { label: string; tone: Tone; icon: LucideIcon; means: string };

type Known = Status | State | "requested" | "waiting" | "unsure";

const looks: Record<Known, Look> = {
  applied: { label: "Applied", tone: "ok", icon: CircleCheck, means: "It ran to its end." },
  completed: { label: "Completed", tone: "ok", icon: CircleCheck, means: "It ran to its end." },
  pending: { label: "Pending", tone: "idle", icon: CircleDashed, means: "It has not run yet." },
  rolled_back: {
    label: "Rolled back",
    tone: "undo",
    icon: Undo2,
    means: "It was undone, and is pending again.",
  },
  covered: {
    label: "Covered",
    tone: "idle",
    icon: Layers,
    means: "A baseline or a snapshot stands for it. It will not run.",
  },
  out_of_order: {
    label: "Out of order",
    tone: "warn",
    icon: ArrowDownUp,
    means: "It has not run, but a newer version is applied.",
  },
  missing: {
    label: "File missing",
    tone: "warn",
    icon: FileX2,
    means: "It is applied, but its file is gone.",
  },
  ahead: {
    label: "Ahead",
    tone: "warn",
    icon: FastForward,
    means: "It is applied and newer than every file: these files are an older release's.",
  },
  running: { label: "Running", tone: "run", icon: LoaderCircle, means: "It is running now." },
  paused: {
    label: "Paused",
    tone: "warn",
    icon: CirclePause,
    means: "It stopped in time. The next run goes on.",
  },
  failed: {
    label: "Failed",
    tone: "fail",
    icon: OctagonX,
    means: "It ended with an error. The next run goes on.",
  },
  interrupted: {
    label: "Interrupted",
    tone: "fail",
    icon: Unplug,
    means: "Its process was stopped, or died. The next run goes on.",
  },
  requested: {
    label: "Requested",
    tone: "run",
    icon: Hourglass,
    means: "It was asked for, and has not begun yet.",
  },
  waiting: {
    label: "Waiting for the lock",
    tone: "run",
    icon: Hourglass,
    means: "Another run holds the lock.",
  },
  unsure: {
    label: "Needs an answer",
    tone: "warn",
    icon: CircleHelp,
    means: "Only a person can find out whether a statement happened.",
  },
};

/** lookOf never fails: a state that a newer server may know is shown by its name. */
export function lookOf(state: string): Look {
  return (
    (looks as Record<string, Look | undefined>)[state] ?? {
      label: state,
      tone: "idle",
      icon: CircleDashed,
      means: "",
    }
  );
}

/** stateOf returns the state to show: one that says running while nobody runs it was interrupted. */
export function stateOf(attempt: { state: State; died?: boolean }): State {
  return attempt.died ? "interrupted" : attempt.state;
}
