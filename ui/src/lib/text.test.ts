import { describe, expect, it, test } from "vitest";
import { linesOf } from "../parts/sql.tsx";
import { parseLine } from "./logtext.ts";
import { lineWithin, parsePlace } from "./place.ts";
import { firstLine, sqlPieces } from "./sqltext.ts";

const kinds = (sql: string) =>
  sqlPieces(sql)
    .filter((p) => p.kind !== "plain")
    .map((p) => [p.kind, p.text]);

describe("sqlPieces", () => {
  it("tells keywords, strings, comments and numbers apart", () => {
    expect(kinds("select 'it''s; -- no' , 42 -- yes")).toEqual([
      ["keyword", "select"],
      ["string", "'it''s; -- no'"],
      ["number", "42"],
      ["comment", "-- yes"],
    ]);
  });
  it("knows dollar quotes by their tags", () => {
    expect(kinds("DO $a$ SELECT $b$ x $a$;")).toEqual([
      ["keyword", "DO"],
      ["string", "$a$ SELECT $b$ x $a$"],
    ]);
  });
  it("leaves quoted names and parts of words alone", () => {
    expect(kinds('"select" selected order_id')).toEqual([]);
  });
  it("always gives back the text it was given", () => {
    for (const text of [
      "'open",
      "$x$ open",
      "/* open",
      '"open',
      "a--",
      "$",
      "$1 $2",
      "\n\n",
      "é'ü'",
      "E'\\''x",
    ]) {
      const pieces = sqlPieces(text);
      expect(pieces.map((p) => p.text).join("")).toBe(text);
      expect(
        linesOf(pieces)
          .map((line) => line.map((p) => p.text).join(""))
          .join("\n"),
      ).toBe(text);
    }
  });
  it("does not colour what is huge", () => {
    expect(sqlPieces("select ".repeat(20_000), 1000)).toHaveLength(1);
  });
});

test.each([
  ["-- why\nCREATE  TABLE a (\n  id int\n);", "CREATE TABLE a ( id int );"],
  ["-- only a remark", "-- only a remark"],
  [`SELECT '${"x".repeat(200)}'`, `SELECT '${"x".repeat(111)}…`],
])("firstLine(%s)", (sql, want) => expect(firstLine(sql)).toBe(want));

describe("places", () => {
  it("reads file, line and column", () => {
    expect(parsePlace("a:b.sql:7")).toEqual({ file: "a:b.sql", line: 7, column: undefined });
    expect(parsePlace("a.sql:7:12")).toEqual({ file: "a.sql", line: 7, column: 12 });
    for (const bad of [undefined, "", "a.sql", ":7", "line 7"]) expect(parsePlace(bad)).toBeUndefined();
  });
  it("finds the line of a statement, and only in its own file", () => {
    const sql = "a\nb\nc";
    expect(lineWithin("f.sql:10", sql, "f.sql:12")).toBe(2);
    expect(lineWithin("f.sql:10", sql, "f.sql:13")).toBeUndefined();
    expect(lineWithin("f.sql:10", sql, "f.sql:9")).toBeUndefined();
    expect(lineWithin("f.sql:10", sql, "g.sql:12")).toBeUndefined();
  });
  it("takes the beginning of a statement for all of it, unless a column is named", () => {
    expect(lineWithin("f.sql:10", "a\nb", "f.sql:10")).toBeUndefined();
    expect(lineWithin("f.sql:10", "a\nb", "f.sql:10:3")).toBe(0);
  });
});

describe("parseLine", () => {
  it("reads what slog's text handler writes", () => {
    const line = parseLine(
      'time=2026-11-22T04:00:00Z level=WARN msg="slow down" rows=500 why="a \\"b\\"" empty=',
    );
    expect(line).toMatchObject({ time: "2026-11-22T04:00:00Z", level: "WARN", message: "slow down" });
    expect(line.fields).toEqual([
      ["rows", "500"],
      ["why", 'a "b"'],
      ["empty", ""],
    ]);
  });
  it("reads one word as a message, and levels between the levels", () => {
    expect(parseLine("time=x level=INFO+2 msg=done")).toMatchObject({ level: "INFO", message: "done" });
  });
  it("leaves everything else as it is", () => {
    for (const text of [
      "",
      "hello",
      "time=now",
      'time=x level=INFO msg="open',
      "time=x msg=y level=INFO",
      "a=b c",
    ]) {
      expect(parseLine(text)).toEqual({ text });
    }
  });
});
