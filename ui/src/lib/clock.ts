// One clock for the whole page: a component renders again only when what it
// says about the time changes.

import { useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;
let skew = 0;

/** setSkew corrects the browser's clock by the server's. */
export function setSkew(ms: number) {
  skew = ms;
}

/** now is the time on the server, as far as it is known. */
export const now = () => Date.now() + skew;

function subscribe(listener: () => void) {
  listeners.add(listener);
  timer ??= setInterval(() => {
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** useClock renders again whenever what say returns for the time is another text. */
export function useClock(say: (now: number) => string): string {
  return useSyncExternalStore(subscribe, () => say(now()));
}
