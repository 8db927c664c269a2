// A small lexer that colours SQL. It only decides how text looks: the pieces
// always join to exactly the text that was given.

export type Piece = { kind: "keyword" | "string" | "comment" | "number" | "plain"; text: string };

const keywords = new Set(
  `add all alter always and any array as asc async begin between bigint boolean by cascade case cast check
  collate column comment commit concurrently conflict constraint create cross current_timestamp database date
  default deferrable delete desc distinct do drop else end except exclude exists explain extension false fetch
  first for foreign from full function generated grant group having identity if ilike in index inner insert int
  integer intersect interval into is isolation join json jsonb key language last lateral left level like limit
  lock materialized natural not nothing null nulls numeric of offset on only or order outer over owner partition
  primary procedure publication references rename replace restrict returning returns revoke right role rollback
  row rows schema select sequence serial set some table temporary text then time timestamp timestamptz to
  transaction trigger true truncate type union unique update using uuid vacuum valid validate values varchar
  view when where window with without`.split(/\s+/),
);

const pattern = new RegExp(
  [
    String.raw`(?<comment>--[^\n]*|/\*[\s\S]*?(?:\*/|$))`,
    String.raw`(?<string>'(?:[^']|'')*(?:'|$)|\$(?<tag>[A-Za-z_]\w*|)\$[\s\S]*?(?:\$\k<tag>\$|$))`,
    `(?<quoted>"(?:[^"]|"")*(?:"|$))`,
    String.raw`(?<word>[A-Za-z_]\w*)`,
    String.raw`(?<number>\d+(?:\.\d+)?)`,
  ].join("|"),
  "g",
);

/** sqlPieces cuts SQL into pieces to colour. Text over the limit stays plain: colouring is not worth a pause. */
export function sqlPieces(text: string, limit = 100_000): Piece[] {
  if (text.length > limit) return [{ kind: "plain", text }];
  const pieces: Piece[] = [];
  const add = (kind: Piece["kind"], piece: string) => {
    const last = pieces.at(-1);
    if (last?.kind === kind) last.text += piece;
    else if (piece) pieces.push({ kind, text: piece });
  };
  let end = 0;
  for (const m of text.matchAll(pattern)) {
    add("plain", text.slice(end, m.index));
    end = m.index + m[0].length;
    const g = m.groups ?? {};
    if (g.comment) add("comment", m[0]);
    else if (g.string) add("string", m[0]);
    else if (g.number) add("number", m[0]);
    else if (g.word && keywords.has(g.word.toLowerCase())) add("keyword", m[0]);
    else add("plain", m[0]);
  }
  add("plain", text.slice(end));
  return pieces;
}

/** firstLine says in one line what a statement does, for lists. */
export function firstLine(text: string, limit = 120): string {
  const line = text
    .replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return line.length > limit ? `${line.slice(0, limit - 1)}…` : line || text.trim().slice(0, limit);
}
