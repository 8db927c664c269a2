// Places in files, as aurora writes them: "20260915140000_order_totals.sql:7",
// perhaps with a column behind it.

export type Place = { file: string; line: number; column?: number };

/** parsePlace reads "file:line" or "file:line:column". */
export function parsePlace(text: string | undefined): Place | undefined {
  const m = /^(.*?):(\d+)(?::(\d+))?$/.exec(text ?? "");
  if (!m?.[1]) return undefined;
  return { file: m[1], line: Number(m[2]), column: m[3] ? Number(m[3]) : undefined };
}

/**
 * lineWithin says which line of a statement (from 0) a place means. The place where the statement begins means all of
 * it, unless it has a column.
 */
export function lineWithin(statementPos: string | undefined, sql: string, errorPos: string | undefined) {
  const start = parsePlace(statementPos);
  const at = parsePlace(errorPos);
  if (!start || !at || start.file !== at.file) return undefined;
  const line = at.line - start.line;
  if (line === 0 && at.column === undefined) return undefined;
  return line >= 0 && line < sql.split("\n").length ? line : undefined;
}
