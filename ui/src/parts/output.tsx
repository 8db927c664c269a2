// Captured output: readable lines, the newest in view while it grows.

import { ArrowDownToLine, Scissors } from "lucide-react";
import { memo, useDeferredValue, useLayoutEffect, useMemo, useRef, useState } from "react";
import { bytes, clock, count, exact, parseTime, plural } from "../lib/format.ts";
import { parseLine } from "../lib/logtext.ts";
import { Button, CopyButton, cx, Panel } from "./basics.tsx";

const tones = {
  DEBUG: "text-ink-3",
  INFO: "text-ink-3",
  WARN: "tone-warn text-tone",
  ERROR: "tone-fail text-tone",
};

/** How many lines are drawn unasked: the newest. */
export const linesShown = 2000;

export function Output(props: {
  text: string;
  dropped: number;
  truncated: boolean;
  live: boolean;
  loading?: boolean;
}) {
  const { text, dropped, truncated, live, loading } = props;
  const shown = useDeferredValue(text);
  const [raw, setRaw] = useState(false);
  const [all, setAll] = useState(false);
  const [follow, setFollow] = useState(true);
  const box = useRef<HTMLElement>(null);
  const lines = useMemo(() => shown.replace(/\n$/, "").split("\n"), [shown]);
  const first = all || raw ? 0 : Math.max(0, lines.length - linesShown);
  const readable = useMemo(() => lines.some((line) => parseLine(line).message !== undefined), [lines]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines move the end
  useLayoutEffect(() => {
    if (live && follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, live, follow, all, raw]);

  const onScroll = () => {
    const el = box.current;
    if (el && live) setFollow(el.scrollHeight - el.scrollTop - el.clientHeight < 24);
  };

  const actions = (
    <>
      {live && <LiveMark />}
      {live && !follow && (
        <Button look="ghost" className="h-7 px-2" onClick={() => setFollow(true)}>
          <ArrowDownToLine size={13} aria-hidden /> Follow
        </Button>
      )}
      {readable && (
        <Button look="ghost" className="h-7 px-2" aria-pressed={raw} onClick={() => setRaw(!raw)}>
          Raw
        </Button>
      )}
      {text && <CopyButton text={text} what="the output" />}
    </>
  );
  return (
    <Panel title={<Title text={text} />} id="output" actions={actions}>
      {truncated && (
        <p className="tone-warn flex items-center gap-2 border-b border-tone-line bg-tone-bg px-4 py-2 text-sm">
          <Scissors size={14} aria-hidden className="shrink-0 text-tone" />
          <span>
            The output was too long: {dropped > 0 ? `its first ${plural(dropped, "line")}` : "its beginning"}{" "}
            {dropped === 1 ? "is" : "are"} not kept. Below is the end of it.
          </span>
        </p>
      )}
      {!text ? (
        <p className="px-4 py-4 text-ink-2">
          {loading ? "Reading the output…" : live ? "Nothing was written yet." : "Nothing was written."}
        </p>
      ) : (
        <section
          ref={box}
          aria-label="Captured output"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must do so by keyboard
          tabIndex={0}
          onScroll={onScroll}
          className="max-h-112 overflow-auto px-4 py-2.5 font-mono text-xs leading-5"
        >
          {first > 0 && <Earlier lines={lines.length} onAll={() => setAll(true)} />}
          {raw ? (
            // One node, however many lines.
            <div className="break-words whitespace-pre-wrap">{shown}</div>
          ) : (
            lines.slice(first).map((line, i) => (
              // A line keeps its key when others fall out before it.
              <Line key={dropped + first + i} text={line} />
            ))
          )}
        </section>
      )}
    </Panel>
  );
}

function Earlier({ lines, onAll }: { lines: number; onAll: () => void }) {
  return (
    <p className="mb-2 flex flex-wrap items-center gap-2 font-sans text-ink-2 text-sm">
      The last {count(linesShown)} lines are here; {plural(lines - linesShown, "line")} before them{" "}
      {lines - linesShown === 1 ? "is" : "are"} not.
      <Button look="ghost" className="h-7 px-2" onClick={onAll}>
        Show all {count(lines)} lines
      </Button>
    </p>
  );
}

function Title({ text }: { text: string }) {
  if (!text) return "Output";
  const n = text.replace(/\n$/, "").split("\n").length;
  return (
    <>
      Output{" "}
      <span className="num ml-1 font-normal text-ink-3 text-xs">
        {count(n)} {n === 1 ? "line" : "lines"}, {bytes(new Blob([text]).size)}
      </span>
    </>
  );
}

export function LiveMark() {
  return (
    <span className="tone-run mr-1 inline-flex items-center gap-1.5 font-medium text-tone text-xs">
      <span aria-hidden className="pulse size-2 rounded-full bg-tone-fill" />
      live
    </span>
  );
}

const Line = memo(function Line({ text }: { text: string }) {
  const line = parseLine(text);
  if (line.message === undefined) {
    return <div className="min-h-5 break-words whitespace-pre-wrap">{line.text}</div>;
  }
  const date = parseTime(line.time);
  return (
    <div className="break-words whitespace-pre-wrap">
      <span className="num mr-2 text-ink-3" title={date && exact(date)}>
        {date ? clock(date) : line.time}
      </span>
      {line.level && line.level !== "INFO" && (
        <span className={cx("mr-2 font-semibold", tones[line.level])}>{line.level.toLowerCase()}</span>
      )}
      <span>{line.message}</span>
      {line.fields?.map(([key, value], i) => (
        <span key={i} className="ml-2">
          <span className="text-ink-3">{key}=</span>
          <span className="text-ink-2">{value}</span>
        </span>
      ))}
    </div>
  );
});
