// Captured output is what Go's slog text handler writes, mixed with whatever
// else was printed. A line that is not one of slog's stays as it is.

export type LogLine = {
  text: string;
  time?: string;
  level?: "DEBUG" | "INFO" | "WARN" | "ERROR";
  message?: string;
  fields?: [key: string, value: string][];
};

const pair = /^([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)/;
const levels = ["DEBUG", "INFO", "WARN", "ERROR"] as const;

/** parseLine reads a line of slog's text handler: time, level, msg, and then pairs. */
export function parseLine(text: string): LogLine {
  if (!text.startsWith("time=")) return { text };
  const fields: [string, string][] = [];
  let rest = text;
  while (rest) {
    const m = pair.exec(rest);
    if (!m) return { text };
    fields.push([m[1] ?? "", unquote(m[2] ?? "")]);
    rest = rest.slice(m[0].length);
  }
  const [time, level, msg] = fields;
  if (level?.[0] !== "level" || msg?.[0] !== "msg") return { text };
  return {
    text,
    time: time?.[1],
    level: levels.find((known) => level[1].startsWith(known)),
    message: msg[1],
    fields: fields.slice(3),
  };
}

function unquote(value: string): string {
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    // strconv.Quote knows escapes that JSON does not, such as \x1b.
    return value.slice(1, -1).replaceAll('\\"', '"');
  }
}
