// Markdown as React elements. The text comes from files and from databases, so
// nothing of it becomes HTML by itself: there is no innerHTML here to sanitise
// for. Raw HTML is shown as the text it is, and images as links, because the
// page asks no other host for anything.

import { Lexer, type Token, type Tokens } from "marked";
import { Fragment, type ReactNode, useMemo } from "react";
import { Boundary } from "../parts/boundary.tsx";
import { Sql } from "../parts/sql.tsx";

/** safeUrl returns a link's target where a reader may be sent there, else nothing. */
export function safeUrl(text: string): string | undefined {
  try {
    const url = new URL(text);
    return ["https:", "http:", "mailto:"].includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined; // relative: there is nothing here it could mean
  }
}

/** How many blocks and spans may be inside of each other. What is deeper is shown as it was written. */
export const deepest = 50;

/** Markdown renders a description. One that cannot be rendered is shown as it was written. */
export function Markdown({ text }: { text: string }) {
  return (
    <div className="prose">
      <Boundary place={text} fallback={<Plain text={text} />}>
        <Description text={text} />
      </Boundary>
    </div>
  );
}

function Description({ text }: { text: string }) {
  const tokens = useMemo(() => lex(text), [text]);
  return tokens ? blocks(tokens, 1) : <Plain text={text} />;
}

// The lexer calls itself for every level, so some thousands of them are more
// than the stack holds.
function lex(text: string): Token[] | undefined {
  try {
    return new Lexer({ gfm: true }).lex(text);
  } catch {
    return undefined;
  }
}

function blocks(tokens: Token[] | undefined, depth: number): ReactNode {
  return tokens?.map((t, i) => (
    <Fragment key={`${i}${t.type}`}>{depth > deepest ? t.raw : block(t as Tokens.Generic, depth)}</Fragment>
  ));
}

function Plain({ text }: { text: string }) {
  return (
    <pre
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must do so by keyboard
      tabIndex={0}
    >
      {text}
    </pre>
  );
}

function block(t: Tokens.Generic, depth: number): ReactNode {
  switch (t.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return heading(t as Tokens.Heading, depth);
    case "paragraph":
      return <p>{inline(t.tokens, depth + 1)}</p>;
    case "text":
      return t.tokens ? inline(t.tokens, depth + 1) : decode(t.text);
    case "code": {
      const code = t as Tokens.Code;
      return code.lang?.toLowerCase() === "sql" ? <Sql text={code.text} /> : <Plain text={code.text} />;
    }
    case "blockquote":
      return <blockquote>{blocks(t.tokens, depth + 1)}</blockquote>;
    case "hr":
      return <hr />;
    case "list":
      return list(t as Tokens.List, depth);
    case "table":
      return table(t as Tokens.Table, depth);
    default:
      return t.raw;
  }
}

// The page has its own h1 and h2, and a description's headings come below them.
function heading(t: Tokens.Heading, depth: number): ReactNode {
  const children = inline(t.tokens, depth + 1);
  if (t.depth === 1) return <h3>{children}</h3>;
  return t.depth === 2 ? <h4>{children}</h4> : <h5>{children}</h5>;
}

function list(t: Tokens.List, depth: number): ReactNode {
  const items = t.items.map((item, i) => (
    <li key={`${i}${item.task}`} className={item.task ? "task" : undefined}>
      {item.task && <span aria-hidden>{item.checked ? "☑ " : "☐ "}</span>}
      {item.task && <span className="sr-only">{item.checked ? "done: " : "open: "}</span>}
      {blocks(
        item.tokens.filter((child) => child.type !== "checkbox"),
        depth + 1,
      )}
    </li>
  ));
  return t.ordered ? <ol start={t.start || 1}>{items}</ol> : <ul>{items}</ul>;
}

function table(t: Tokens.Table, depth: number): ReactNode {
  return (
    <div className="overflow-x-auto">
      <table>
        <thead>
          <tr>
            {t.header.map((cell, i) => (
              <th key={`${i}${cell.text}`}>{inline(cell.tokens, depth + 1)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {t.rows.map((row, i) => (
            <tr key={`${i}${row[0]?.text}`}>
              {row.map((cell, j) => (
                <td key={`${j}${cell.text}`}>{inline(cell.tokens, depth + 1)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inline(tokens: Token[] | undefined, depth: number): ReactNode {
  return tokens?.map((t, i) => (
    <Fragment key={`${i}${t.type}`}>{depth > deepest ? t.raw : span(t as Tokens.Generic, depth)}</Fragment>
  ));
}

function span(t: Tokens.Generic, depth: number): ReactNode {
  switch (t.type) {
    case "text":
      return t.tokens ? inline(t.tokens, depth + 1) : decode(t.text);
    case "escape":
      return decode(t.text);
    case "strong":
      return <strong>{inline(t.tokens, depth + 1)}</strong>;
    case "em":
      return <em>{inline(t.tokens, depth + 1)}</em>;
    case "del":
      return <del>{inline(t.tokens, depth + 1)}</del>;
    case "codespan":
      return <code>{decode(t.text)}</code>;
    case "br":
      return <br />;
    case "link":
      return link(t.href, inline(t.tokens, depth + 1));
    case "image":
      return link(t.href, t.text || t.href);
    default:
      return t.raw;
  }
}

function link(target: string, children: ReactNode): ReactNode {
  const url = safeUrl(target);
  if (!url) return children;
  return (
    <a href={url} rel="noreferrer noopener" target="_blank">
      {children}
    </a>
  );
}

const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** decode reads the entities that a writer of markdown uses; React escapes what comes out. */
export function decode(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|(\w{2,8}));/g, (all, dec, hex, name) => {
    if (name) return entities[name] ?? all;
    const code = dec ? Number(dec) : Number.parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}
