import { cleanup, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { App, newClient } from "../app.tsx";
import type { Problem } from "../lib/types.ts";
import { SignIn } from "./signin.tsx";

const problem: Problem = {
  title: "Unauthorized",
  status: 401,
  code: "unauthorized",
  detail: "Who asks is not known.",
  login: "token",
};
const notKept = "The browser did not keep the cookie: this page must be opened by https.";

let right: boolean; // the token
let session: () => Response; // what is answered after signing in
let posts: unknown[];

beforeEach(() => {
  right = true;
  session = () => Response.json(problem, { status: 401 });
  posts = [];
  vi.stubGlobal("fetch", async (url: string, init?: RequestInit) => {
    expect(url).toBe("api/session");
    if (init?.method !== "POST") return session();
    posts.push(JSON.parse(String(init.body)));
    return right ? new Response(null, { status: 204 }) : Response.json(problem, { status: 401 });
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

async function signIn() {
  const user = userEvent.setup();
  await user.type(await screen.findByLabelText("Token"), " secret ");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
}

it("says why a right token does not let anybody in over plain http", async () => {
  render(<App client={newClient()} />);
  await signIn();
  expect((await screen.findByRole("alert")).textContent).toContain(notKept);
  expect(posts).toEqual([{ token: "secret" }]);
  expect(screen.getByLabelText("Token")).toBeTruthy();
});

it("says that a token is wrong, and nothing about cookies", async () => {
  right = false;
  render(<App client={newClient()} />);
  await signIn();
  const alert = await screen.findByRole("alert");
  expect(alert.textContent).toContain("This token is not the right one.");
  expect(alert.textContent).not.toContain("cookie");
});

it.each([
  ["the session is there", () => Response.json({ project: "shop" })],
  ["the session fails for another reason", () => Response.json({}, { status: 500 })],
])("goes on when %s", async (_, answer) => {
  session = answer;
  const onDone = vi.fn();
  render(<SignIn problem={problem} onDone={onDone} />);
  await signIn();
  await waitFor(() => expect(onDone).toHaveBeenCalledOnce());
  expect(screen.queryByRole("alert")).toBeNull();
});
