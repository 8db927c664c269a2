import { ChevronLeft, ChevronRight, ChevronsLeft } from "lucide-react";
import { count } from "../lib/format.ts";
import { before, pageNumber, remember } from "../lib/paging.ts";
import { Button } from "./basics.tsx";

type Props = {
  /** What is paged through: changes with every filter. */
  list: string;
  cursor: string;
  next: string;
  pageSize: number;
  shown: number;
  total?: number;
  words: string;
  go: (cursor: string) => void;
};

/** Pager leads to the page before and after. */
export function Pager({ list, cursor, next, pageSize, shown, total, words, go }: Props) {
  const previous = before(list, cursor);
  const page = pageNumber(list, cursor);
  const first = page ? (page - 1) * pageSize + 1 : undefined;
  if (!cursor && !next && total === undefined) return null;
  return (
    <nav
      aria-label="Pages of the list"
      className="flex min-h-11 flex-wrap items-center gap-2 border-t px-4 py-1.5"
    >
      <p className="num text-ink-2 text-xs">
        {shown > 0 && first && `${count(first)}–${count(first + shown - 1)}`}
        {shown > 0 && first && total !== undefined && ` of ${count(total)} ${words}`}
        {shown > 0 && !first && total !== undefined && `${count(total)} ${words}`}
      </p>
      {(cursor || next) && (
        <div className="ml-auto flex gap-1.5">
          {cursor && (
            <Button className="h-7 px-2" onClick={() => go("")}>
              <ChevronsLeft size={14} aria-hidden /> First
            </Button>
          )}
          <Button className="h-7 px-2" disabled={previous === undefined} onClick={() => go(previous ?? "")}>
            <ChevronLeft size={14} aria-hidden /> Previous
          </Button>
          <Button
            className="h-7 px-2"
            disabled={!next}
            onClick={() => {
              remember(list, cursor, next);
              go(next);
            }}
          >
            Next <ChevronRight size={14} aria-hidden />
          </Button>
        </div>
      )}
    </nav>
  );
}
