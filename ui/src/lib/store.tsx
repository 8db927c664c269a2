// What every page shares: the session, the live connection, and the dialog to
// roll back or apply.

import { useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  type ReactNode,
  use,
  useCallback,
  useEffect,
  useMemo,
  useReducer,
  useRef,
} from "react";
import { setSkew } from "./clock.ts";
import { type Change, connect, initial, type Live, reduce, staleKeys } from "./events.ts";
import type { Session } from "./types.ts";

type Shared = { session: Session; live: Live };

const Context = createContext<Shared | undefined>(undefined);

/** useShared returns the session and what is known live. */
export function useShared(): Shared {
  const shared = use(Context);
  if (!shared) throw new Error("useShared outside of LiveProvider");
  return shared;
}

/** LiveProvider follows the server and fetches again what became stale. */
export function LiveProvider({ session, children }: { session: Session; children: ReactNode }) {
  const client = useQueryClient();
  const [live, dispatch] = useReducer(reduce, initial);
  const known = useRef(initial);

  const listen = useCallback(
    (change: Change) => {
      const before = known.current;
      known.current = reduce(before, change);
      dispatch(change);
      if (change.kind === "link" && change.link === "signed-out") {
        void client.invalidateQueries({ queryKey: ["session"] });
      }
      if (change.kind !== "state") return;
      setSkew(known.current.skew);
      client.setQueryData(["summary"], change.event.summary);
      for (const queryKey of staleKeys(before, change.event)) void client.invalidateQueries({ queryKey });
    },
    [client],
  );
  // Only how to follow matters here: a session that was read again must not
  // open a second connection.
  const { events } = session;
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => connect(session, listen), [events, listen]);

  const shared = useMemo(() => ({ session, live }), [session, live]);
  return <Context value={shared}>{children}</Context>;
}
