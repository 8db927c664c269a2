import { expect, it } from "vitest";
import { before, pageNumber, remember } from "./paging.ts";

it("finds the way back, page by page", () => {
  remember("a", "", "c1");
  remember("a", "c1", "c2");
  expect(before("a", "c2")).toBe("c1");
  expect(before("a", "c1")).toBe("");
  expect(before("a", "")).toBeUndefined();
  expect([pageNumber("a", ""), pageNumber("a", "c1"), pageNumber("a", "c2")]).toEqual([1, 2, 3]);
});

it("forgets what lay ahead when another way is taken", () => {
  remember("b", "", "x1");
  remember("b", "x1", "x2");
  remember("b", "", "y1");
  expect(before("b", "y1")).toBe("");
  expect(before("b", "x2")).toBeUndefined();
});

it("knows nothing of a list that it was not told of", () => {
  expect(before("c", "z")).toBeUndefined();
  expect(pageNumber("c", "z")).toBeUndefined();
});

it("stays small", () => {
  for (let i = 0; i < 200; i++) remember(`list${i}`, "", "p");
  expect(before("list0", "p")).toBeUndefined();
  expect(before("list199", "p")).toBe("");
});
