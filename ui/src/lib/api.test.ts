import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ApiError, api, path, problemOf } from "./api.ts";

let answer: () => Response;
const asked = vi.fn(async (_url: string, _init?: RequestInit) => answer());

beforeEach(() => {
  asked.mockClear();
  vi.stubGlobal("fetch", asked);
});
afterEach(() => vi.unstubAllGlobals());

async function problem(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ApiError);
  return problemOf(error);
}

it("asks below the page's own address, with what needs it escaped", async () => {
  answer = () => Response.json({});
  await api.attempt("a/b ?#", "e&1");
  expect(asked.mock.calls[0]?.[0]).toBe("api/migrations/a%2Fb%20%3F%23/attempts/e%261");
  await api.migrations({ q: "a&b=c", status: "", limit: 5 });
  expect(asked.mock.calls[1]?.[0]).toBe("api/migrations?q=a%26b%3Dc&limit=5");
  expect(path("plan", { steps: 0, target: undefined })).toBe("plan?steps=0");
});

it("sends the token against forged requests with every start", async () => {
  answer = () => Response.json({ executionId: "e" }, { status: 202 });
  await api.start("down", "secret", { target: "3", expectedHead: "7.1", reason: "why" });
  const [url, init] = asked.mock.calls[0] ?? [];
  expect(url).toBe("api/rollback");
  expect(init?.method).toBe("POST");
  expect(init?.headers).toMatchObject({ "Content-Type": "application/json", "X-Aurora-CSRF": "secret" });
  expect(JSON.parse(String(init?.body))).toEqual({ target: "3", expectedHead: "7.1", reason: "why" });
});

it("hands on what the server says about a refusal", async () => {
  answer = () =>
    Response.json(
      { title: "Moved", status: 409, code: "head_moved", detail: "it moved", head: "8" },
      { status: 409 },
    );
  expect(await problem(api.summary())).toMatchObject({ code: "head_moved", head: "8", status: 409 });
});

it("says something also when the answer is a proxy's page", async () => {
  answer = () => new Response("<html>Bad Gateway</html>", { status: 502 });
  expect(await problem(api.summary())).toMatchObject({ status: 502, code: "http" });
});

it("says that nobody answers", async () => {
  answer = () => {
    throw new TypeError("Failed to fetch");
  };
  expect(await problem(api.summary())).toMatchObject({ status: 0, code: "unreachable" });
});
