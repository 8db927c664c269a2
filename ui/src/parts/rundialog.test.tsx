import { QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { newClient } from "../app.tsx";
import type { PlanQuery } from "../lib/api.ts";
import { LiveProvider } from "../lib/store.tsx";
import type { Plan, Problem, Session, StateEvent } from "../lib/types.ts";
import { RunDialogProvider, useRunDialog } from "./rundialog.tsx";

const session = {
  project: "shop",
  env: "production",
  protected: true,
  csrf: "secret",
  events: "poll",
} as Session;

const plan: Plan = {
  direction: "down",
  head: "7.3",
  current: "3",
  target: "1",
  targetId: "1_users",
  count: 2,
  items: [
    { id: "3_totals", version: "3", name: "totals", direction: "down", steps: 1 },
    { id: "2_unique", version: "2", name: "unique", direction: "down", steps: 2 },
  ],
  possible: true,
  confirm: "2_unique",
  needsReason: true,
};

let plans: Plan[];
let head: string;
let refusal: Problem | undefined;
let posts: { url: string; body: unknown; csrf: unknown }[];

function answer(url: string, init?: RequestInit): Response {
  if (url.startsWith("api/plan")) return Response.json(plans.length > 1 ? plans.shift() : plans[0]);
  if (url.startsWith("api/events")) {
    const event = { etag: head, head, summary: {}, migrations: [], executions: [], now: "" };
    return Response.json(event as unknown as StateEvent);
  }
  if (init?.method === "POST") {
    const headers = init.headers as Record<string, string>;
    posts.push({ url, body: JSON.parse(String(init.body)), csrf: headers["X-Aurora-CSRF"] });
    if (refusal) return Response.json(refusal, { status: refusal.status });
    const run = {
      executionId: "e1",
      direction: "down",
      state: "completed",
      startedAt: "",
      endedAt: "x",
      completed: 2,
    };
    return Response.json({ executionId: "e1", direction: "down", run }, { status: 202 });
  }
  return Response.json({ title: "", status: 404, code: "not_found", detail: "" }, { status: 404 });
}

function Opener({ query }: { query: PlanQuery }) {
  const open = useRunDialog();
  return (
    <button type="button" onClick={() => open(query)}>
      open
    </button>
  );
}

beforeEach(() => {
  plans = [plan];
  head = plan.head;
  refusal = undefined;
  posts = [];
  vi.stubGlobal("fetch", async (url: string, init?: RequestInit) => answer(url, init));
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

async function open(query: PlanQuery = { direction: "down", through: "2_unique" }) {
  const user = userEvent.setup();
  render(
    <QueryClientProvider client={newClient()}>
      <LiveProvider session={session}>
        <RunDialogProvider>
          <Opener query={query} />
        </RunDialogProvider>
      </LiveProvider>
    </QueryClientProvider>,
  );
  await user.click(screen.getByText("open"));
  await screen.findByText(/will be undone|will run|change nothing/);
  return user;
}

const press = () => screen.getByRole<HTMLButtonElement>("button", { name: /^Roll back \d|^Apply \d/ });

it("shows the plan in order, and lets nothing happen before reason and name", async () => {
  const user = await open();
  const items = screen.getAllByRole("listitem").map((li) => li.textContent);
  expect(items[0]).toContain("totals");
  expect(items[1]).toContain("unique");
  expect(press().disabled).toBe(true);
  await user.type(screen.getByLabelText(/^Reason/), "broke checkout");
  expect(press().disabled).toBe(true);
  await user.type(screen.getByLabelText(/to confirm$/), "uniqu");
  expect(press().disabled).toBe(true);
  await user.keyboard("{Enter}");
  expect(posts).toEqual([]);
  await user.type(screen.getByLabelText(/to confirm$/), "e");
  expect(press().disabled).toBe(false);
  await user.click(press());
  await screen.findByText("2 migrations undone.");
  expect(posts).toEqual([
    {
      url: "api/rollback",
      csrf: "secret",
      body: { target: "1", expectedHead: "7.3", reason: "broke checkout", confirm: "unique" },
    },
  ]);
});

it("asks an open environment for nothing", async () => {
  plans = [{ ...plan, confirm: undefined, needsReason: false }];
  const user = await open();
  await user.click(press());
  await screen.findByText("2 migrations undone.");
  expect(posts[0]?.body).toEqual({ target: "1", expectedHead: "7.3", reason: "" });
});

it("explains a 409, and begins again with the new plan and empty answers", async () => {
  refusal = { title: "Conflict", status: 409, code: "head_moved", detail: "moved", head: "8.1" };
  plans = [plan, { ...plan, head: "8.1", count: 1, items: plan.items.slice(0, 1), confirm: "3_totals" }];
  const user = await open();
  await user.type(screen.getByLabelText(/^Reason/), "why");
  await user.type(screen.getByLabelText(/to confirm$/), "unique");
  await user.click(press());
  await screen.findByText("The history moved");
  expect(press().disabled).toBe(true);
  head = "8.1";
  await user.click(screen.getByRole("button", { name: "Make the plan again" }));
  await screen.findByText(/1 migration will be undone/);
  expect(screen.getByLabelText<HTMLInputElement>(/to confirm$/).value).toBe("");
  expect(press().disabled).toBe(true);
  expect(posts).toHaveLength(1);
});

it("says that the history moved as soon as it hears of it", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  try {
    await open();
    head = "8.1";
    await act(() => vi.advanceTimersByTimeAsync(4000));
    await waitFor(() => expect(screen.queryByText("The history moved")).not.toBeNull());
    expect(press().disabled).toBe(true);
  } finally {
    vi.useRealTimers();
  }
});

it("marks what cannot be undone, and stops there", async () => {
  const blocked = {
    title: "Conflict",
    status: 409,
    code: "irreversible",
    detail: "3_totals: the values are gone",
  };
  const [first, ...rest] = plan.items;
  if (!first) throw new Error("no item");
  plans = [
    {
      ...plan,
      possible: false,
      blocked,
      items: [{ ...first, irreversible: "the values are gone" }, ...rest],
    },
  ];
  await open();
  expect(screen.getByText("irreversible")).toBeTruthy();
  expect(screen.getByRole("alert").textContent).toContain("the values are gone");
  expect(screen.queryByLabelText(/^Reason/)).toBeNull();
  expect(press().disabled).toBe(true);
});

it("shows every other refusal with its advice", async () => {
  const lock = { held: true, token: 9, holder: { text: "ada@build-7" } };
  refusal = {
    title: "Conflict",
    status: 409,
    code: "locked",
    detail: "somebody runs migrations",
    hint: "wait",
    lock,
  };
  plans = [{ ...plan, confirm: undefined, needsReason: false }];
  const user = await open();
  await user.click(press());
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("somebody runs migrations");
  expect(alert.textContent).toContain("ada@build-7");
  expect(press().disabled).toBe(false);
});

it("takes a reason as long as the server does, and shows when it is too long for it", async () => {
  const detail = "The reason is longer than 4000 bytes.";
  refusal = { title: "Unprocessable Entity", status: 422, code: "reason_too_long", detail };
  plans = [{ ...plan, confirm: undefined }];
  const user = await open();
  const reason = "x".repeat(4000);
  await user.click(screen.getByLabelText(/^Reason/));
  await user.paste(reason);
  await user.click(press());
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("The reason is too long");
  expect(alert.textContent).toContain(detail);
  expect(posts[0]?.body).toEqual({ target: "1", expectedHead: "7.3", reason });
});
