// How times, durations and numbers are written. All of it is in English and
// without a library, so that a test can say exactly what a reader sees.

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const pad = (n: number, width = 2) => String(n).padStart(width, "0");

/** parseTime reads an RFC 3339 time. Go's zero time, an empty or a broken text count as none. */
export function parseTime(text: string | undefined | null): Date | undefined {
  if (!text || text.startsWith("0001-01-01")) return undefined;
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** relative says how far a time is from now: "12 s ago", "in 3 min", "5 d ago", "12 Sep 2026". */
export function relative(date: Date, now: number): string {
  const diff = now - date.getTime();
  const size = Math.abs(diff);
  if (size < 2 * second) return "now";
  const text = coarse(size);
  if (!text) return `${date.getDate()} ${months[date.getMonth()]} ${date.getFullYear()}`;
  return diff > 0 ? `${text} ago` : `in ${text}`;
}

function coarse(ms: number): string | undefined {
  if (ms < minute) return `${Math.floor(ms / second)} s`;
  if (ms < hour) return `${Math.floor(ms / minute)} min`;
  if (ms < day) return `${Math.floor(ms / hour)} h`;
  if (ms < 30 * day) return `${Math.floor(ms / day)} d`;
  return undefined;
}

/** exact writes a time in the reader's zone, with its offset: "2026-11-22 03:04:05 +01:00". */
export function exact(date: Date): string {
  const offset = -date.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  const zone =
    offset === 0 ? "UTC" : `${sign}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  const ymd = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${ymd} ${clock(date)} ${zone}`;
}

/** clock writes the time of day: "03:04:05". */
export function clock(date: Date): string {
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** duration writes milliseconds with two or three significant places: "312 ms", "4.2 s", "1 min 05 s". */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "–";
  if (ms > 0 && ms < 1) return "< 1 ms";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9.95 * second) return `${(ms / second).toFixed(1)} s`;
  const s = Math.round(ms / second);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`;
  const m = Math.round(s / 60);
  if (m < 24 * 60) return `${Math.floor(m / 60)} h ${pad(m % 60)} min`;
  const h = Math.round(m / 60);
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

/** count writes a whole number with separators: "10,000". */
export function count(n: number): string {
  return String(Math.trunc(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** plural writes a number with its word: "1 step", "2,000 steps". */
export function plural(n: number, word: string, words = `${word}s`): string {
  return `${count(n)} ${n === 1 ? word : words}`;
}

/** bytes writes a size: "812 B", "1.4 kB", "200 kB". */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${n < 9950 ? (n / 1e3).toFixed(1) : Math.round(n / 1e3)} kB`;
  return `${(n / 1e6).toFixed(1)} MB`;
}

/** percent writes a share; it says 100 % only when all is done, and 0 % only when nothing is. */
export function percent(done: number, total: number): string {
  if (total <= 0) return "–";
  const p = (100 * done) / total;
  if (p > 0 && p < 1) return "1 %";
  if (p >= 99 && p < 100) return "99 %";
  return `${Math.min(100, Math.round(p))} %`;
}

/** eta estimates what is left, in milliseconds, or undefined when too little is known. */
export function eta(startedAt: number, now: number, done: number, total: number): number | undefined {
  const spent = now - startedAt;
  if (done <= 0 || total <= 0 || done >= total || spent < second) return undefined;
  return (spent / done) * (total - done);
}

/** shortId keeps the end of an identifier: a UUID of version 7 begins with the time, which many share. */
export function shortId(id: string): string {
  return id.length > 12 ? id.slice(-8) : id;
}
