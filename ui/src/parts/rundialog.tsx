// The dialog that rolls back or applies: first the plan, then the run.

import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { RotateCw } from "lucide-react";
import { createContext, type ReactNode, use, useCallback, useId, useState } from "react";
import { api, type PlanQuery, problemOf, type Started } from "../lib/api.ts";
import { plural } from "../lib/format.ts";
import { type Answers, bareName, missing, moved, reasonLimit } from "../lib/rundialog.ts";
import { useShared } from "../lib/store.tsx";
import type { Direction, Plan, Problem } from "../lib/types.ts";
import { Button, Failure, MigrationName, Skeleton } from "./basics.tsx";
import { Dialog } from "./dialog.tsx";
import { PlanList } from "./planlist.tsx";
import { Refusal } from "./refusal.tsx";
import { RunView } from "./runview.tsx";

const Context = createContext<(query: PlanQuery) => void>(() => {});

/** useRunDialog returns what opens the dialog for a rollback or an application. */
export const useRunDialog = () => use(Context);

export function RunDialogProvider({ children }: { children: ReactNode }) {
  const [query, setQuery] = useState<PlanQuery>();
  const [opened, setOpened] = useState(0);
  const open = useCallback((next: PlanQuery) => {
    setOpened((n) => n + 1);
    setQuery(next);
  }, []);
  return (
    <Context value={open}>
      {children}
      {query && <RunDialog key={opened} query={query} onClose={() => setQuery(undefined)} />}
    </Context>
  );
}

const titles: Record<Direction, string> = { down: "Roll back", up: "Apply" };

function RunDialog({ query, onClose }: { query: PlanQuery; onClose: () => void }) {
  const { session } = useShared();
  const [started, setStarted] = useState<Started>();
  const where = [session.project, session.env].filter(Boolean).join(" / ");
  const about = where && (
    <>
      in <strong className="font-semibold text-ink">{where}</strong>
      {session.protected && ", a protected environment"}
    </>
  );
  return (
    <Dialog open onClose={onClose} title={titles[query.direction]} about={about}>
      {started ? (
        <RunView started={started} onClose={onClose} onStarted={setStarted} />
      ) : (
        <Planning query={query} onClose={onClose} onStarted={setStarted} />
      )}
    </Dialog>
  );
}

type PlanningProps = { query: PlanQuery; onClose: () => void; onStarted: (started: Started) => void };

function Planning({ query, onClose, onStarted }: PlanningProps) {
  const plan = useQuery({
    queryKey: ["plan", query],
    queryFn: ({ signal }) => api.plan(query, signal),
    // A plan is shown until it is asked for anew: it must not change under the hand.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    refetchOnWindowFocus: false,
    placeholderData: keepPreviousData,
  });
  const reload = () => void plan.refetch();
  // A plan that cannot be made again is no plan any more.
  if (plan.error) {
    return (
      <div className="p-5">
        <Failure error={plan.error} retry={reload} />
      </div>
    );
  }
  if (!plan.data) return <Skeleton lines={4} />;
  const props = { plan: plan.data, reloading: plan.isFetching, reload, onClose, onStarted };
  return <PlanForm key={plan.data.head} {...props} />;
}

type FormProps = {
  plan: Plan;
  reloading: boolean;
  reload: () => void;
  onClose: () => void;
  onStarted: (started: Started) => void;
};

function PlanForm({ plan, reloading, reload, onClose, onStarted }: FormProps) {
  const { session, live } = useShared();
  const client = useQueryClient();
  const [answers, setAnswers] = useState<Answers>({ reason: "", confirm: "" });
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<Problem>();
  const why = missing(plan, live.head, answers);
  const stale = moved(plan, live.head) || refused?.code === "head_moved";
  const down = plan.direction === "down";

  const start = async () => {
    setBusy(true);
    setRefused(undefined);
    try {
      const body = {
        target: plan.target || undefined,
        expectedHead: plan.head,
        reason: answers.reason.trim(),
        confirm: plan.confirm && answers.confirm.trim(),
      };
      const answer = await api.start(plan.direction, session.csrf, body);
      if (answer) onStarted(answer);
      void client.invalidateQueries({ queryKey: ["summary"] });
    } catch (error) {
      setRefused(problemOf(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form
      className="flex min-h-0 flex-1 flex-col"
      onSubmit={(event) => {
        event.preventDefault();
        if (!why && !busy && !stale) void start();
      }}
    >
      <div className="min-h-0 flex-1 space-y-4 overflow-y-auto px-5 py-4">
        <p className="text-ink-2">{sentence(plan)}</p>
        {stale && <Moved reload={reload} reloading={reloading} />}
        {!plan.possible && plan.blocked && <Refusal problem={plan.blocked} />}
        {refused && refused.code !== "head_moved" && <Refusal problem={refused} />}
        <PlanList plan={plan} />
        {plan.possible && plan.count > 0 && <Questions plan={plan} answers={answers} onChange={setAnswers} />}
      </div>
      <footer className="flex flex-wrap items-center justify-end gap-2 border-t px-5 py-3">
        {why && plan.possible && !stale && <p className="mr-auto text-ink-2 text-xs">{why}</p>}
        <Button onClick={onClose}>Cancel</Button>
        <Button
          type="submit"
          look={down ? "danger" : "solid"}
          busy={busy}
          disabled={why !== undefined || stale}
        >
          {down ? `Roll back ${plural(plan.count, "migration")}` : `Apply ${plural(plan.count, "migration")}`}
        </Button>
      </footer>
    </form>
  );
}

/** sentence says in words what a plan does. */
function sentence(plan: Plan): ReactNode {
  const n = plural(plan.count, "migration");
  const order = plan.count > 1 ? ", in this order" : "";
  const target = plan.targetId || plan.target;
  if (plan.count === 0) return "This would change nothing.";
  if (plan.direction === "up") {
    return (
      <>
        {n} will run{order}. After that the newest applied one is <MigrationName id={target} />.
      </>
    );
  }
  if (plan.target === "0" || plan.target === "") {
    return (
      <>
        {n} will be undone{order}. Nothing stays applied.
      </>
    );
  }
  return (
    <>
      {n} will be undone{order}. The newest that stays is <MigrationName id={target} />.
    </>
  );
}

function Moved({ reload, reloading }: { reload: () => void; reloading: boolean }) {
  return (
    <div role="alert" className="tone-warn rounded-lg border border-tone-line bg-tone-bg px-4 py-3">
      <p className="font-semibold">The history moved</p>
      <p className="text-ink-2">
        Something ran after this plan was made: another person, or a deployment. What you see below is no
        longer what would happen, so nothing was started.
      </p>
      <Button className="mt-2" onClick={reload} busy={reloading}>
        <RotateCw size={13} aria-hidden /> Make the plan again
      </Button>
    </div>
  );
}

type QuestionsProps = { plan: Plan; answers: Answers; onChange: (answers: Answers) => void };

function Questions({ plan, answers, onChange }: QuestionsProps) {
  const id = useId();
  return (
    <div className="space-y-3">
      <div>
        <label htmlFor={`${id}reason`} className="font-medium text-sm">
          Reason {!plan.needsReason && <span className="font-normal text-ink-3">(optional)</span>}
        </label>
        <textarea
          id={`${id}reason`}
          rows={2}
          // In UTF-16 units, which are never more than bytes: missing counts those.
          maxLength={reasonLimit}
          required={plan.needsReason}
          placeholder="Kept with the execution, for whoever reads the history"
          className="field mt-1 block w-full resize-y"
          value={answers.reason}
          onChange={(event) => onChange({ ...answers, reason: event.target.value })}
        />
      </div>
      {plan.confirm && (
        <div>
          <label htmlFor={`${id}confirm`} className="font-medium text-sm">
            Type <code className="rounded border bg-sunken px-1 select-all">{bareName(plan.confirm)}</code> to
            confirm
          </label>
          <input
            id={`${id}confirm`}
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            className="field mt-1 block w-full font-mono text-sm"
            value={answers.confirm}
            onChange={(event) => onChange({ ...answers, confirm: event.target.value })}
          />
        </div>
      )}
    </div>
  );
}
