// A router for five pages. Routes live behind "#", so that one build works
// under any path, with no rule on the server.

import { useSyncExternalStore } from "react";

export type Route =
  | { page: "dashboard" }
  | { page: "migrations"; query: URLSearchParams }
  | { page: "migration"; id: string; query: URLSearchParams }
  | { page: "executions"; query: URLSearchParams }
  | { page: "execution"; id: string; query: URLSearchParams }
  | { page: "unknown"; path: string };

/** parseRoute reads a location's hash. It never throws: what it cannot read is an unknown page. */
export function parseRoute(hash: string): Route {
  const text = hash.replace(/^#/, "");
  const [path = "", search = ""] = split(text, "?");
  const query = new URLSearchParams(search);
  const parts = path.split("/").filter(Boolean);
  let id: string | undefined;
  if (parts.length > 1) {
    try {
      id = decodeURIComponent(parts.slice(1).join("/"));
    } catch {
      return { page: "unknown", path };
    }
  }
  if (parts.length === 0) return { page: "dashboard" };
  if (parts[0] === "migrations") return id ? { page: "migration", id, query } : { page: "migrations", query };
  if (parts[0] === "executions") return id ? { page: "execution", id, query } : { page: "executions", query };
  return { page: "unknown", path };
}

function split(text: string, sep: string): [string, string] {
  const i = text.indexOf(sep);
  return i < 0 ? [text, ""] : [text.slice(0, i), text.slice(i + sep.length)];
}

type Query = Record<string, string | number | undefined>;

/** href builds a link: href("migrations", id, {attempt: "…"}). Empty values are left out. */
export function href(page: "" | "migrations" | "executions", id = "", query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") params.set(key, String(value));
  }
  const search = params.toString();
  return `#/${page}${id ? `/${encodeURIComponent(id)}` : ""}${search ? `?${search}` : ""}`;
}

const changed = "aurora:route";

function subscribe(listener: () => void) {
  window.addEventListener("hashchange", listener);
  window.addEventListener(changed, listener);
  return () => {
    window.removeEventListener("hashchange", listener);
    window.removeEventListener(changed, listener);
  };
}

/** useRoute returns the route of the page's location, and renders again when it changes. */
export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  return parseRoute(hash);
}

/** navigate opens a link; with replace, going back does not return here. */
export function navigate(to: string, replace = false) {
  if (!replace) {
    window.location.hash = to;
    return;
  }
  window.history.replaceState(null, "", to);
  window.dispatchEvent(new Event(changed));
}
