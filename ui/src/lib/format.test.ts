import { describe, expect, it, test } from "vitest";
import {
  bytes,
  count,
  duration,
  eta,
  exact,
  parseTime,
  percent,
  plural,
  relative,
  shortId,
} from "./format.ts";

const at = (text: string) => new Date(text);
const now = at("2026-11-22T04:00:00Z").getTime();

test.each([
  [0, "0 ms"],
  [0.4, "< 1 ms"],
  [312.4, "312 ms"],
  [999.4, "999 ms"],
  [999.6, "1.0 s"],
  [4249, "4.2 s"],
  [9949, "9.9 s"],
  [9951, "10 s"],
  [59_400, "59 s"],
  [59_600, "1 min 00 s"],
  [65_000, "1 min 05 s"],
  [3_599_600, "1 h 00 min"],
  [2 * 3_600_000 + 3 * 60_000, "2 h 03 min"],
  [76 * 3_600_000, "3 d 4 h"],
  [-5, "–"],
  [Number.NaN, "–"],
])("duration(%d) is %s", (ms, want) => expect(duration(ms)).toBe(want));

test.each([
  ["2026-11-22T03:59:59Z", "now"],
  ["2026-11-22T03:59:48Z", "12 s ago"],
  ["2026-11-22T03:57:01Z", "2 min ago"],
  ["2026-11-22T00:30:00Z", "3 h ago"],
  ["2026-11-20T03:00:00Z", "2 d ago"],
  ["2026-09-12T09:00:00Z", "12 Sep 2026"],
  ["2026-11-22T04:03:30Z", "in 3 min"],
])("relative(%s) is %s", (text, want) => expect(relative(at(text), now)).toBe(want));

it("writes exact times with their zone", () => {
  expect(exact(at("2026-11-02T03:04:05.678Z"))).toBe("2026-11-02 03:04:05 UTC");
});

describe("parseTime", () => {
  it.each(["", "nonsense", "0001-01-01T00:00:00Z", null, undefined])("takes %s for none", (text) =>
    expect(parseTime(text)).toBeUndefined(),
  );
  it("reads nanoseconds", () =>
    expect(parseTime("2026-11-22T04:00:00.123456789Z")?.getTime()).toBe(now + 123));
});

it("writes numbers", () => {
  expect(count(0)).toBe("0");
  expect(count(999)).toBe("999");
  expect(count(10_000)).toBe("10,000");
  expect(count(1_234_567)).toBe("1,234,567");
  expect(plural(1, "step")).toBe("1 step");
  expect(plural(2000, "step")).toBe("2,000 steps");
  expect([812, 1400, 204_800, 1_500_000].map(bytes)).toEqual(["812 B", "1.4 kB", "205 kB", "1.5 MB"]);
});

it("rounds a share towards what is not finished", () => {
  expect(percent(0, 10)).toBe("0 %");
  expect(percent(1, 100_000)).toBe("1 %");
  expect(percent(999_999, 1_000_000)).toBe("99 %");
  expect(percent(10, 10)).toBe("100 %");
  expect(percent(1, 0)).toBe("–");
});

it("estimates only from something done", () => {
  expect(eta(now - 10_000, now, 5, 10)).toBe(10_000);
  expect(eta(now - 10_000, now, 0, 10)).toBeUndefined();
  expect(eta(now - 10_000, now, 10, 10)).toBeUndefined();
  expect(eta(now - 10, now, 5, 10)).toBeUndefined();
});

it("shortens identifiers at the end that differs", () => {
  expect(shortId("0199f3f0-8c1e-7d53-9f6a-1b2c3d4e5f60")).toBe("3d4e5f60");
  expect(shortId("run-7")).toBe("run-7");
});
