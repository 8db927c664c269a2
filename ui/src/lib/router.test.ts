import { act, renderHook } from "@testing-library/react";
import { beforeEach, expect, it, test } from "vitest";
import { href, navigate, parseRoute, useRoute } from "./router.ts";

test.each([
  ["", "dashboard"],
  ["#", "dashboard"],
  ["#/", "dashboard"],
  ["#/migrations", "migrations"],
  ["#/migrations/", "migrations"],
  ["#/migrations/20250601120000_add-user-roles", "migration"],
  ["#/executions", "executions"],
  ["#/executions/0199", "execution"],
  ["#/nothing", "unknown"],
  ["#/migrations/%E0%A4%A", "unknown"],
])("%s is the page %s", (hash, page) => expect(parseRoute(hash).page).toBe(page));

it("takes back every identifier that href writes", () => {
  for (const id of ["20250601_a", "a/b", "a?b=c#d", "ünïcode 100%", "../../etc/passwd", "<script>"]) {
    const route = parseRoute(href("migrations", id, { attempt: "x&y=z" }));
    expect(route).toMatchObject({ page: "migration", id });
    expect(route.page === "migration" && route.query.get("attempt")).toBe("x&y=z");
  }
});

it("leaves empty values out of links", () => {
  expect(href("migrations", "", { status: "failed", q: "", after: undefined })).toBe(
    "#/migrations?status=failed",
  );
  expect(href("")).toBe("#/");
});

beforeEach(() => {
  window.location.hash = "";
});

it("renders again on navigation, and keeps the history's length when replacing", () => {
  const { result } = renderHook(() => useRoute());
  expect(result.current.page).toBe("dashboard");
  const length = window.history.length;
  act(() => navigate("#/executions", true));
  expect(result.current.page).toBe("executions");
  expect(window.history.length).toBe(length);
});
