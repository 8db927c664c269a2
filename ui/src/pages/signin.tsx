import { KeyRound } from "lucide-react";
import { useState } from "react";
import { ApiError, api, problemOf } from "../lib/api.ts";
import type { Problem } from "../lib/types.ts";
import { Button, Failure } from "../parts/basics.tsx";

/** SignIn is shown while the server does not know who asks. */
export function SignIn({ problem, onDone }: { problem: Problem; onDone: () => void }) {
  return (
    <main className="mx-auto max-w-md px-5 pt-[14vh]">
      <div className="mb-5 flex items-center gap-2.5">
        <img src="./favicon.svg" alt="" width={28} height={28} />
        <h1 className="font-semibold text-lg tracking-tight">aurora</h1>
      </div>
      <div className="panel px-5 py-5">
        {problem.login === "token" ? (
          <TokenForm onDone={onDone} />
        ) : (
          <Told problem={problem} onDone={onDone} />
        )}
      </div>
    </main>
  );
}

function Told({ problem, onDone }: { problem: Problem; onDone: () => void }) {
  const link = problem.login === "link";
  return (
    <div className="space-y-3">
      <p className="flex items-center gap-2 font-semibold">
        <KeyRound size={16} aria-hidden className="text-ink-3" />{" "}
        {link ? "Open the address with the token" : "You are signed out"}
      </p>
      <p className="text-ink-2">
        {problem.hint
          ? problem.hint
          : link
            ? "aurora dashboard printed an address when it started. It works once; start the command again for a new one."
            : "Whoever lets you in here no longer does. Sign in there again, and reload this page."}
      </p>
      <Button onClick={onDone}>Try again</Button>
    </div>
  );
}

const notKept = "The browser did not keep the cookie: this page must be opened by https.";

/** refused is why nobody is signed in, as the pages show problems. */
function refused(detail: string): ApiError {
  return new ApiError({ title: "You are not signed in", status: 401, code: "not_signed_in", detail });
}

// A browser drops a Secure cookie of a page that came by http, and says so to
// nobody: only the next request shows that it is missing.
async function cookieKept(): Promise<boolean> {
  try {
    await api.session();
  } catch (failure) {
    return problemOf(failure).status !== 401; // anything else the page itself will tell
  }
  return true;
}

function TokenForm({ onDone }: { onDone: () => void }) {
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async () => {
    setBusy(true);
    setError(undefined);
    try {
      await api.signIn(token.trim());
      if (await cookieKept()) onDone();
      else setError(refused(notKept));
    } catch (failure) {
      const problem = problemOf(failure);
      setError(problem.status === 401 ? refused("This token is not the right one.") : failure);
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      className="space-y-3"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <label htmlFor="token" className="block font-semibold">
        Token
      </label>
      <input
        id="token"
        type="password"
        autoComplete="current-password"
        className="field block w-full font-mono"
        value={token}
        onChange={(event) => setToken(event.target.value)}
      />
      {error !== undefined && <Failure error={error} />}
      <Button type="submit" look="solid" busy={busy} disabled={token.trim() === ""}>
        Sign in
      </Button>
    </form>
  );
}
