import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, describe, expect, it, test } from "vitest";
import type { Attempt, ExecutionDetail, Run, Statement, Summary } from "../lib/types.ts";
import { cardsOf } from "../pages/dashboard.tsx";
import { advice } from "./attempt.tsx";
import { Badge, MigrationName, Time } from "./basics.tsx";
import { difference, pairsOf } from "./compare.tsx";
import { linesShown, Output } from "./output.tsx";
import { leftOf } from "./progress.tsx";
import { settled } from "./runview.tsx";
import { firstShown, Statements } from "./statements.tsx";
import { drawnOf, spanOf } from "./timeline.tsx";

afterEach(cleanup);

it("tells every status by a word, also one it does not know", () => {
  render(
    <>
      <Badge state="out_of_order" />
      <Badge state="quarantined" />
    </>,
  );
  expect(screen.getByText("Out of order")).toBeTruthy();
  expect(screen.getByText("quarantined")).toBeTruthy();
});

it("writes a name so that it reads as the identifier", () => {
  const { container } = render(<MigrationName id="2025_add_user_roles" />);
  expect(container.textContent).toBe("2025_add_user_roles");
});

it("gives every time its exact one", () => {
  render(<Time at="2026-11-02T03:04:05Z" />);
  const time = document.querySelector("time");
  expect(time?.dateTime).toBe("2026-11-02T03:04:05.000Z");
  expect(time?.title).toBe("2026-11-02 03:04:05 UTC");
});

test.each([
  [10, undefined, 0],
  [10, 3, 0],
  [5000, 99, 0],
  [5000, 2000, 1990],
  [5000, 4999, 4900],
])("of %i statements with the failure at %s the first shown is %i", (n, failed, want) =>
  expect(firstShown(n, failed)).toBe(want),
);

describe("Statements", () => {
  const statements = Array.from({ length: 3000 }, (_, index): Statement => {
    const state = index < 2500 ? "done" : index === 2500 ? "failed" : "pending";
    return { index, sql: `INSERT INTO t VALUES\n    (${index});`, pos: `a.sql:${2 * index + 1}`, state };
  });

  it("draws the failure and its neighbours, not thousands of rows", async () => {
    const { container } = render(
      <Statements
        statements={statements}
        mistake={{ index: 2500, text: "duplicate key", pos: "a.sql:5002" }}
      />,
    );
    expect(container.querySelectorAll("li")).toHaveLength(100);
    const failed = container.querySelector("#statement-2501");
    expect(failed?.textContent).toContain("duplicate key");
    expect(failed?.querySelector("code > .tone-fail")?.textContent).toContain("(2500)");
    fireEvent.click(screen.getByText(/statements above$/));
    expect(container.querySelectorAll("li").length).toBe(200);
  });

  it("shows what was sent, and on request what was written", async () => {
    const [first] = statements;
    if (!first) throw new Error("no statement");
    const { container } = render(
      <Statements statements={[{ ...first, sent: "INSERT SENT", changes: ["because of DSQL"] }]} />,
    );
    expect(container.querySelector("code")?.textContent).toBe("INSERT SENT");
    expect(screen.getByText("because of DSQL")).toBeTruthy();
    await userEvent.click(screen.getByRole("button", { name: "Show as written" }));
    expect(container.querySelector("code")?.textContent).toBe(first.sql);
  });

  it("says nothing about how it went where nothing ran", () => {
    const { container } = render(<Statements statements={statements.slice(0, 2)} plain />);
    expect(container.textContent).not.toContain("done");
  });

  it("calls nothing failed in a file that is not the one that ran", () => {
    const failed = statements.slice(2500, 2501);
    const { container } = render(<Statements statements={failed} plain />);
    expect(container.innerHTML).not.toContain("tone-fail");
    expect(render(<Statements statements={failed} />).container.innerHTML).toContain("tone-fail");
  });
});

describe("Output", () => {
  const props = { dropped: 0, truncated: false, live: false };
  it("warns when the beginning is gone", () => {
    render(<Output {...props} text="x" dropped={1822} truncated />);
    expect(screen.getByText(/first 1,822 lines are not kept/)).toBeTruthy();
  });
  it("keeps what a line says apart from markup", () => {
    const { container } = render(
      <Output {...props} text={'time=x level=ERROR msg="<b>no</b>"\n<script>alert(1)</script>\n'} />,
    );
    expect(container.querySelector("b, script")).toBeNull();
    expect(screen.getByText("<b>no</b>")).toBeTruthy();
    expect(screen.getByText("error")).toBeTruthy();
  });
  it("says what an empty one means", () => {
    const { rerender } = render(<Output {...props} text="" />);
    expect(screen.getByText("Nothing was written.")).toBeTruthy();
    rerender(<Output {...props} text="" live />);
    expect(screen.getByText("Nothing was written yet.")).toBeTruthy();
  });

  const long = Array.from({ length: linesShown + 1000 }, (_, i) => `line ${i + 1}`);
  const box = () => screen.getByRole("region", { name: "Captured output" });
  const drawn = () => [...box().querySelectorAll("div")].map((line) => line.textContent);

  it("draws the newest lines, and the rest on request", async () => {
    const { rerender } = render(<Output {...props} text={`${long.join("\n")}\n`} live />);
    expect(drawn()).toEqual(long.slice(1000));
    expect(screen.getByText(/1,000 lines before them are not/)).toBeTruthy();
    rerender(<Output {...props} text={`${[...long, "new"].join("\n")}\n`} live />);
    expect(drawn()).toEqual([...long.slice(1001), "new"]);
    await userEvent.click(screen.getByRole("button", { name: "Show all 3,001 lines" }));
    expect(drawn()).toEqual([...long, "new"]);
    expect(screen.queryByRole("button", { name: /^Show all/ })).toBeNull();
  });

  it("draws all where it is not too much", () => {
    render(<Output {...props} text={long.slice(0, linesShown).join("\n")} />);
    expect(drawn()).toHaveLength(linesShown);
    expect(screen.queryByRole("button", { name: /^Show all/ })).toBeNull();
  });

  it("keeps a line's element when earlier ones fall out", () => {
    const { rerender } = render(<Output {...props} text={long.join("\n")} live />);
    const last = box().lastElementChild;
    rerender(<Output {...props} text={[...long.slice(5), "new"].join("\n")} dropped={5} truncated live />);
    expect(box().lastElementChild?.previousElementSibling).toBe(last);
  });

  it("gives all of it raw and copied", async () => {
    const text = `time=x level=INFO msg="a b"\n${long.join("\n")}\n`;
    render(<Output {...props} text={text} />);
    const user = userEvent.setup(); // which brings a clipboard
    await user.click(screen.getByRole("button", { name: "Copy the output" }));
    expect(await navigator.clipboard.readText()).toBe(text);
    await user.click(screen.getByRole("button", { name: "Raw" }));
    expect(drawn()).toEqual([text]);
    expect(screen.queryByRole("button", { name: /^Show all/ })).toBeNull();
  });
});

test.each([
  [0, 50, 0, 100, { left: 0, width: 50 }],
  [50, 100, 0, 100, { left: 50, width: 50 }],
  [100, 100, 0, 100, { left: 99.4, width: 0.6 }],
  [-50, 500, 0, 100, { left: 0, width: 100 }],
  [5, 5, 5, 5, { left: 0, width: 0.6 }],
])("a bar from %i to %i on an axis from %i to %i", (from, to, start, end, want) =>
  expect(spanOf(from, to, start, end)).toEqual(want),
);

describe("settled", () => {
  const told: Run = {
    executionId: "e",
    direction: "up",
    state: "requested",
    startedAt: "2026-11-22T04:00:00Z",
  };
  const detail = (state: Run["state"]) => ({ execution: { state } }) as unknown as ExecutionDetail;
  it("believes the history about a run that is elsewhere", () => {
    expect(settled(told, undefined).state).toBe("requested");
    expect(settled(told, detail("running")).state).toBe("running");
    expect(settled(told, detail("failed")).state).toBe("failed");
  });
  it("believes the server about a run that ended or waits", () => {
    expect(settled({ ...told, state: "waiting" }, detail("running")).state).toBe("waiting");
    expect(settled({ ...told, state: "failed", endedAt: "x" }, detail("running")).state).toBe("failed");
  });
});

describe("comparing", () => {
  const attempt = (id: string, durationMs?: number) => ({ id, durationMs }) as Attempt;
  it("pairs by migration, in the order of the first, and leaves nothing out", () => {
    const pairs = pairsOf([attempt("2"), attempt("1")], [attempt("1"), attempt("3")]);
    expect(pairs.map((p) => [p.id, p.here?.id, p.there?.id])).toEqual([
      ["2", "2", undefined],
      ["1", "1", "1"],
      ["3", undefined, "3"],
    ]);
  });
  test.each([
    [1500, 300, "+ 1.2 s"],
    [300, 1500, "− 1.2 s"],
    [3, 3.4, "same"],
    [3, undefined, ""],
  ])("difference(%s, %s) is %s", (here, there, want) => expect(difference(here, there)).toBe(want));
});

describe("advice", () => {
  const attempt = { done: 0, steps: 3 } as Attempt;
  test.each([
    [{}, /begins again/],
    [{ done: 2 }, /statement 3/],
    [{ done: 1, checkpoint: { at: 5 } }, /checkpoint/],
    [{ done: 1, begun: 2, checkpoint: {} }, /Statement 2 may have happened/],
    [{ done: 2, statements: [{ index: 0, sql: "f", go: true }] }, /goes on with step 3/],
  ])("%o", (more, want) => expect(advice({ ...attempt, ...more })).toMatch(want));
});

test.each([
  [33, "about a second left"],
  [1499, "about a second left"],
  [1500, "about 2 s left"],
  [95_400, "about 1 min 35 s left"],
])("%i ms are %s", (ms, want) => expect(leftOf(ms)).toBe(want));

it("draws the first of many migrations, and those that did not complete", () => {
  const attempts = Array.from({ length: 500 }, (_, i) => ({
    id: String(i),
    state: i === 498 ? "failed" : i === 499 ? "running" : "completed",
    died: i === 499,
  })) as Attempt[];
  expect(drawnOf(attempts, 100).map((a) => a.id)).toEqual([
    ...Array.from({ length: 100 }, (_, i) => String(i)),
    "498",
    "499",
  ]);
  expect(drawnOf(attempts, 600)).toHaveLength(500);
});

it("leads with the five numbers, and does not hide interrupted ones", () => {
  const cards = cardsOf({
    completed: 6,
    pending: 4,
    failed: 1,
    running: 0,
    total: 12,
    interrupted: 1,
    paused: 0,
  } as Summary);
  expect(cards.map((c) => [c.name, c.value])).toEqual([
    ["Completed", 6],
    ["Pending", 4],
    ["Failed", 1],
    ["Running", 0],
    ["Total", 12],
  ]);
  expect(cards[2]?.also).toBe("1 interrupted");
});

it("gives what was interrupted the place of what failed, where nothing failed", () => {
  const none = { completed: 6, pending: 0, failed: 0, running: 0, total: 7 };
  const third = (more: object) => cardsOf({ ...none, ...more } as Summary)[2];
  expect(third({ interrupted: 1, paused: 1 })).toMatchObject({ name: "Interrupted", value: 2, tone: "fail" });
  expect(third({ interrupted: 0, paused: 1 })).toMatchObject({ name: "Paused", value: 1, tone: "warn" });
  expect(third({ interrupted: 0, paused: 0 })).toMatchObject({ name: "Failed", value: 0 });
});
