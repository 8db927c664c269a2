// The frame around every page: where one is, what is live, and the ways out.

import { useQuery } from "@tanstack/react-query";
import { Database, LockKeyhole, Monitor, Moon, PlugZap, Sun, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { api } from "../lib/api.ts";
import { useClock } from "../lib/clock.ts";
import { href, type Route } from "../lib/router.ts";
import { useShared } from "../lib/store.tsx";
import { setTheme, type Theme, useTheme } from "../lib/theme.ts";
import { cx, Time } from "./basics.tsx";

const pages = [
  { page: "" as const, name: "Dashboard", routes: ["dashboard"], key: "g d" },
  { page: "migrations" as const, name: "Migrations", routes: ["migrations", "migration"], key: "g m" },
  { page: "executions" as const, name: "Executions", routes: ["executions", "execution"], key: "g e" },
];

export function Layout({ route, children }: { route: Route; children: ReactNode }) {
  return (
    <>
      <button
        type="button"
        onClick={() => document.getElementById("content")?.focus()}
        className="sr-only z-50 rounded bg-raised px-3 py-2 focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        Skip to the content
      </button>
      <header className="sticky top-0 z-30 border-b bg-panel/90 backdrop-blur">
        <div className="mx-auto flex max-w-6xl flex-wrap items-center gap-x-5 px-4 sm:px-6">
          <a
            href={href("")}
            className="flex h-12 items-center gap-2 font-semibold tracking-tight"
            aria-label="aurora"
          >
            <img src="./favicon.svg" alt="" width={22} height={22} />
            <span className="hidden text-[0.9375rem] sm:inline">aurora</span>
          </a>
          <Where />
          <nav aria-label="Pages" className="order-last -mx-1 flex w-full md:order-none md:w-auto">
            {pages.map(({ page, name, routes, key }) => {
              const here = routes.includes(route.page);
              return (
                <a
                  key={name}
                  href={href(page)}
                  aria-current={here ? "page" : undefined}
                  title={`${name} (${key})`}
                  className={cx(
                    "relative flex h-10 items-center px-3 text-sm md:h-12",
                    here ? "font-semibold text-ink" : "text-ink-2 hover:text-ink",
                  )}
                >
                  {name}
                  {here && <span aria-hidden className="absolute inset-x-2.5 -bottom-px h-0.5 bg-accent" />}
                </a>
              );
            })}
          </nav>
          <div className="ml-auto flex items-center gap-3">
            <Connection />
            <ThemeSwitch />
          </div>
        </div>
      </header>
      <main
        id="content"
        tabIndex={-1}
        className="mx-auto max-w-6xl px-4 pt-5 pb-16 focus:outline-none sm:px-6 sm:pt-7"
      >
        <Gone />
        <FilesError />
        {children}
      </main>
    </>
  );
}

/** Gone says how old what is shown is, while the server does not answer. */
function Gone() {
  const { live } = useShared();
  const { lostAt, skew } = live;
  // A stream that begins again at once is not worth a word.
  const late = useClock((at) => (lostAt !== undefined && at - skew - lostAt > 4000 ? "late" : "")) !== "";
  if (!late || lostAt === undefined) return null;
  return (
    <div
      role="alert"
      className="tone-warn mb-5 flex gap-2.5 rounded-lg border border-tone-line bg-tone-bg px-4 py-3"
    >
      <PlugZap size={16} aria-hidden className="mt-0.5 shrink-0 text-tone" />
      <p>
        <strong className="font-semibold">The dashboard does not answer.</strong> Below is how it was{" "}
        <Time at={new Date(lostAt + skew).toISOString()} />. Is <code>aurora dashboard</code> still running?
        This page tries again by itself.
      </p>
    </div>
  );
}

/** FilesError says on every page that the files are not part of what it shows. */
function FilesError() {
  const { data } = useQuery({ queryKey: ["summary"], queryFn: ({ signal }) => api.summary(signal) });
  if (!data?.filesError) return null;
  return (
    <div
      role="alert"
      className="tone-warn mb-5 flex gap-2.5 rounded-lg border border-tone-line bg-tone-bg px-4 py-3"
    >
      <TriangleAlert size={16} aria-hidden className="mt-0.5 shrink-0 text-tone" />
      <div className="min-w-0">
        <p className="font-semibold">The migration files cannot be read</p>
        <p className="break-words">{data.filesError}</p>
        <p className="text-ink-2">Below is what the history says.</p>
      </div>
    </div>
  );
}

function Where() {
  const { session } = useShared();
  const name = [session.project, session.env].filter(Boolean).join(" / ") || session.target || session.store;
  return (
    <div
      className="flex min-w-0 items-center gap-2"
      title={[session.store, session.target].filter(Boolean).join(": ")}
    >
      <Database size={14} aria-hidden className="hidden shrink-0 text-ink-3 sm:block" />
      <span className="max-w-40 truncate font-medium text-sm lg:max-w-72">{name}</span>
      {session.protected && (
        <span
          className="tone-warn inline-flex h-5 items-center gap-1 rounded border border-tone-line bg-tone-bg px-1.5 font-medium text-2xs text-tone"
          title="A rollback asks for a reason and for the migration's name"
        >
          <LockKeyhole size={10} strokeWidth={2.5} aria-hidden /> protected
        </span>
      )}
      {session.readOnly && (
        <span
          className="tone-idle inline-flex h-5 items-center rounded border border-line-strong bg-tone-bg px-1.5 font-medium text-2xs text-tone whitespace-nowrap"
          title={session.readOnlyReason}
        >
          read only
        </span>
      )}
    </div>
  );
}

const links = {
  connecting: { tone: "idle", word: "Connecting", means: "Not connected yet." },
  live: { tone: "ok", word: "Live", means: "Changes show at once." },
  polling: { tone: "ok", word: "Every 3 s", means: "Changes show after a few seconds." },
  offline: {
    tone: "fail",
    word: "Offline",
    means: "The server does not answer. This page tries again by itself.",
  },
  "signed-out": { tone: "fail", word: "Signed out", means: "The session has ended." },
} as const;

function Connection() {
  const { live } = useShared();
  const link = links[live.link];
  const gone = link.tone === "fail";
  return (
    <span
      role="status"
      title={link.means}
      className={cx(
        `tone-${link.tone}`,
        "inline-flex items-center gap-1.5 text-xs",
        gone ? "text-tone" : "text-ink-2",
      )}
    >
      {gone ? (
        <PlugZap size={13} aria-hidden />
      ) : (
        <span aria-hidden className="size-2 rounded-full bg-tone-fill ring-3 ring-tone-bg" />
      )}
      <span className={gone ? undefined : "max-sm:sr-only"}>{link.word}</span>
    </span>
  );
}

const themes: { theme: Theme; icon: typeof Sun; name: string; next: Theme }[] = [
  { theme: "system", icon: Monitor, name: "the system's theme", next: "light" },
  { theme: "light", icon: Sun, name: "the light theme", next: "dark" },
  { theme: "dark", icon: Moon, name: "the dark theme", next: "system" },
];

function ThemeSwitch() {
  const theme = useTheme();
  const shown = themes.find((t) => t.theme === theme) ?? themes[0];
  if (!shown) return null;
  const next = themes.find((t) => t.theme === shown.next);
  const Icon = shown.icon;
  const label = `Theme: ${shown.name}. Press for ${next?.name}.`;
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      onClick={() => setTheme(shown.next)}
      className="inline-flex size-8 items-center justify-center rounded-md text-ink-2 hover:bg-hover hover:text-ink"
    >
      <Icon size={16} aria-hidden />
    </button>
  );
}

/** Heading is a page's title with what belongs beside it. */
export function Heading({
  title,
  about,
  actions,
}: {
  title: ReactNode;
  about?: ReactNode;
  actions?: ReactNode;
}) {
  return (
    <div className="mb-4 flex flex-wrap items-end gap-x-4 gap-y-2">
      <div className="min-w-0">
        <h1 className="font-semibold text-xl leading-7 tracking-tight">{title}</h1>
        {about && <div className="text-ink-2 text-sm">{about}</div>}
      </div>
      {actions && <div className="ml-auto flex flex-wrap gap-2">{actions}</div>}
    </div>
  );
}
