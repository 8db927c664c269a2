import { useMemo } from "react";
import { type Piece, sqlPieces } from "../lib/sqltext.ts";
import { cx } from "./basics.tsx";

/** Sql shows SQL in colour; long lines wrap. A marked line (from 0) stands out. */
export function Sql({ text, mark }: { text: string; mark?: number }) {
  const lines = useMemo(() => linesOf(sqlPieces(text)), [text]);
  return (
    <pre className="code">
      <code className="block">
        {lines.map((line, i) => (
          <span
            key={i}
            className={cx(
              "block",
              i === mark && "tone-fail -mx-2 bg-tone-bg px-2 shadow-[inset_3px_0_var(--tone-fill)]",
            )}
          >
            {line.map((p, j) => (
              <span key={j} className={p.kind === "plain" ? undefined : `sql-${p.kind}`}>
                {p.text}
              </span>
            ))}
            {i < lines.length - 1 ? "\n" : ""}
          </span>
        ))}
      </code>
    </pre>
  );
}

/** linesOf cuts pieces at the ends of lines. */
export function linesOf(pieces: Piece[]): Piece[][] {
  const lines: Piece[][] = [[]];
  for (const { kind, text } of pieces) {
    text.split("\n").forEach((part, i) => {
      if (i > 0) lines.push([]);
      if (part) lines.at(-1)?.push({ kind, text: part });
    });
  }
  return lines;
}
