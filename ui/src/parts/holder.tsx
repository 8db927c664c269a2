import { Bot, Cloud, ExternalLink, Terminal, UserRound } from "lucide-react";
import { safeUrl } from "../lib/markdown.tsx";
import type { Holder, Lock } from "../lib/types.ts";
import { Time } from "./basics.tsx";

function iconOf(holder: Holder) {
  switch (holder.runtime) {
    case "lambda":
    case "fargate":
      return Cloud;
    case "ci":
    case "github":
      return Bot;
    case "dashboard":
      return UserRound;
    default:
      return Terminal;
  }
}

/** Who says who ran something, in one line; the whole of it names the process, too. */
export function Who({ holder, whole }: { holder?: Holder; whole?: boolean }) {
  if (!holder) return <span className="text-ink-3">–</span>;
  const Icon = iconOf(holder);
  const short = whole
    ? holder.text
    : holder.by || (holder.user && holder.host ? `${holder.user}@${holder.host}` : holder.text);
  return (
    <span className="inline-flex min-w-0 max-w-full items-baseline gap-1.5" title={holder.text}>
      <Icon size={13} aria-hidden className="shrink-0 self-center text-ink-3" />
      <span className="truncate">{short}</span>
      <Outside holder={holder} />
    </span>
  );
}

function Outside({ holder }: { holder: Holder }) {
  const url = holder.link && safeUrl(holder.link);
  if (!url) return null;
  return (
    <a href={url} target="_blank" rel="noreferrer noopener" className="link inline-flex shrink-0" title={url}>
      <ExternalLink size={12} aria-hidden />
      <span className="sr-only">Where it ran</span>
    </a>
  );
}

/** LockLine says who holds the lock, and until when without a renewal. */
export function LockLine({ lock }: { lock: Lock }) {
  if (!lock.held) return <p className="text-ink-2">Free. Nobody is running migrations.</p>;
  return (
    <div className="min-w-0">
      <p className="break-words font-medium">{lock.holder?.text}</p>
      {lock.holder?.by && <p className="text-ink-2">asked for by {lock.holder.by}</p>}
      {lock.holder?.reason && <p className="text-ink-2">“{lock.holder.reason}”</p>}
      <p className="num text-ink-3 text-xs">
        token {lock.token}
        {lock.expiresAt && (
          <>
            {" · ends "}
            <Time at={lock.expiresAt} /> unless renewed
          </>
        )}
      </p>
    </div>
  );
}
