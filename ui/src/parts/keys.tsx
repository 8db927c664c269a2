// Keys for whoever does not want the mouse. None of them works while one
// writes or a dialog is open.

import { useEffect, useState } from "react";
import { href, navigate } from "../lib/router.ts";
import { Kbd } from "./basics.tsx";
import { Dialog } from "./dialog.tsx";

const keys: [keys: string[], does: string][] = [
  [["/"], "Search the migrations"],
  [["g", "d"], "Dashboard"],
  [["g", "m"], "Migrations"],
  [["g", "e"], "Executions"],
  [["j"], "Next row"],
  [["k"], "Row before"],
  [["Enter"], "Open the row"],
  [["?"], "These keys"],
];

const pages: Record<string, string> = { d: href(""), m: href("migrations"), e: href("executions") };

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null
  );
}

/** step moves the focus among the page's rows, which are marked with data-row. */
function step(by: 1 | -1) {
  const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next =
    rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

export function Keys() {
  const [help, setHelp] = useState(false);
  useEffect(() => {
    let leader = 0;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector('[role="dialog"]')) return;
      const afterLeader = performance.now() - leader < 1200;
      leader = 0;
      const page = pages[event.key];
      if (afterLeader && page) navigate(page);
      else if (event.key === "g") leader = performance.now();
      else if (event.key === "j") step(1);
      else if (event.key === "k") step(-1);
      else if (event.key === "?") setHelp(true);
      else if (event.key === "/") focusSearch();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  return (
    <Dialog open={help} onClose={() => setHelp(false)} title="Keys">
      <dl className="grid grid-cols-[auto_1fr] items-center gap-x-5 gap-y-2 px-5 py-4">
        {keys.map(([chord, does]) => (
          <div key={does} className="contents">
            <dt className="flex gap-1">
              {chord.map((k) => (
                <Kbd key={k}>{k}</Kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

function focusSearch() {
  const field = document.getElementById("search");
  if (field) field.focus();
  else navigate(href("migrations", "", { focus: "search" }));
}
