import { expect, it, test } from "vitest";
import { bareName, confirms, missing, moved } from "./rundialog.ts";
import type { Plan } from "./types.ts";

const plan: Plan = {
  direction: "down",
  head: "7.3.completed",
  current: "3",
  target: "1",
  count: 2,
  items: [],
  possible: true,
  needsReason: false,
};
const strict: Plan = { ...plan, confirm: "20260915140000_order_totals", needsReason: true };
const nothing = { reason: "", confirm: "" };

it("lets an open environment go ahead without words", () => {
  expect(missing(plan, plan.head, nothing)).toBeUndefined();
});

it("asks a protected environment for a reason first, then for the name", () => {
  expect(missing(strict, strict.head, nothing)).toBe("Say why.");
  expect(missing(strict, strict.head, { reason: "  \n", confirm: "order_totals" })).toBe("Say why.");
  expect(missing(strict, strict.head, { reason: "broke checkout", confirm: "" })).toBe(
    "Type order_totals to confirm.",
  );
  expect(missing(strict, strict.head, { reason: "broke checkout", confirm: "order_totals" })).toBeUndefined();
});

test.each([
  ["20260915140000_order_totals", true],
  [" order_totals ", true],
  ["Order_totals", false],
  ["order_total", false],
  ["20260915140000", false],
  ["", false],
])("%s confirms: %s", (text, want) => expect(confirms(text, "20260915140000_order_totals")).toBe(want));

it("never takes an empty text for a name", () => {
  expect(confirms("", "20260915140000")).toBe(false);
  expect(confirms("", "20260915140000_")).toBe(false);
  expect(bareName("20260915140000")).toBe("20260915140000");
});

it("stops when the history moved, whatever else was answered", () => {
  const answers = { reason: "why", confirm: "order_totals" };
  expect(moved(strict, "8.1.running")).toBe(true);
  expect(missing(strict, "8.1.running", answers)).toMatch(/moved/);
  expect(moved(strict, "")).toBe(false);
});

it("says why a plan is not possible", () => {
  const blocked: Plan = {
    ...plan,
    possible: false,
    blocked: { title: "Irreversible", status: 409, code: "irreversible", detail: "it has no down part" },
  };
  expect(missing(blocked, plan.head, nothing)).toBe("it has no down part");
  expect(missing({ ...plan, count: 0 }, plan.head, nothing)).toBe("There is nothing to do.");
});

test.each([
  ["x", 4000],
  ["é", 2000],
  ["🙂", 1000],
])("bounds the reason as the server does, in bytes: %s", (letter, most) => {
  expect(missing(plan, plan.head, { reason: letter.repeat(most), confirm: "" })).toBeUndefined();
  expect(missing(plan, plan.head, { reason: letter.repeat(most + 1), confirm: "" })).toMatch(/4000 bytes/);
});
