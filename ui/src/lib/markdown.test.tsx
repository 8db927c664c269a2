import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, describe, expect, it, test, vi } from "vitest";
import { decode, deepest, Markdown, safeUrl } from "./markdown.tsx";

// Nothing that is known breaks a description while it is drawn, so one part is made to.
vi.mock("../parts/sql.tsx", async (original) => {
  const { Sql, ...rest } = await original<typeof import("../parts/sql.tsx")>();
  const Breaking = ({ text }: { text: string }) => {
    if (text === "BREAK") throw new Error("broken");
    return <Sql text={text} />;
  };
  return { ...rest, Sql: Breaking };
});

afterEach(cleanup);

const html = (text: string) => render(<Markdown text={text} />).container;

describe("hostile markdown", () => {
  const hostile = [
    `<script>alert(1)</script>`,
    `<img src=x onerror=alert(1)>`,
    `<svg onload=alert(1)><a xlink:href="javascript:alert(1)">x</a></svg>`,
    `<iframe srcdoc="<script>alert(1)</script>"></iframe>`,
    `text <b onmouseover=alert(1)>inline</b> <style>*{display:none}</style>`,
    `[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,<script>alert(1)</script>)`,
    `[d](vbscript:x) [e](&#106;avascript:alert(1)) [f](java\tscript:alert(1)) [g](//evil.example/x)`,
    `![x](https://evil.example/pixel.png) ![y](javascript:alert(1))`,
    `<a href="https://evil.example" onclick="alert(1)">z</a>`,
    `[h]: javascript:alert(1)\n\n[h]`,
    `<javascript:alert(1)> <https://ok.example/"onmouseover="alert(1)>`,
    "```\n</pre><script>alert(1)</script>\n```",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    `[x](https://ok.example/ "\\" onmouseover=\\"alert(1)")`,
    `<form action="https://evil.example"><button>go</button></form>`,
    `<meta http-equiv="refresh" content="0;url=https://evil.example"><base href="https://evil.example">`,
  ].join("\n\n");

  it("makes no element that acts, loads or styles", () => {
    const root = html(hostile);
    const bad =
      "script, img, svg, iframe, object, embed, style, link, meta, base, form, button, input, video, audio";
    expect([...root.querySelectorAll(bad)].map((el) => el.outerHTML)).toEqual([]);
  });

  it("makes no attribute but the few of its own", () => {
    const names = new Set([...html(hostile).querySelectorAll("*")].flatMap((el) => el.getAttributeNames()));
    expect([...names].sort()).toEqual(["class", "href", "rel", "tabindex", "target"]);
  });

  it("links only to the web and to mail, and tells nobody where from", () => {
    for (const a of html(hostile).querySelectorAll("a")) {
      expect(a.href).toMatch(/^https:\/\/(ok|evil)\.example/);
      expect(a.rel).toContain("noreferrer");
    }
  });

  it("shows HTML as the text it is", () => {
    expect(html("a <b>c</b>").textContent).toContain("<b>");
    expect(html("<script>alert(1)</script>").textContent).toContain("<script>alert(1)</script>");
  });

  it("survives what is very deep or very long", () => {
    expect(html(`${"> ".repeat(200)}x`).textContent).toContain("x");
    expect(html("[".repeat(5000)).textContent).toHaveLength(5000);
    expect(html("*a ".repeat(2000)).textContent).toContain("*a");
  });

  test.each([
    ["quotes", ">".repeat(20_000)],
    ["lists", `${"- ".repeat(4000)}x`],
  ])("shows %s as written where they are too deep to read", (_, text) => {
    const root = html(text);
    expect(root.querySelector("pre")?.textContent).toBe(text);
    expect(root.querySelector("blockquote, li")).toBeNull();
  });

  test.each([
    ["blockquote", `${"> ".repeat(300)}x`],
    ["li", `${"- ".repeat(300)}x`],
    ["em, strong", `${"*a **b ".repeat(100)}x${"** c* d".repeat(100)}`],
  ])("draws no more than so many %s inside of each other", (what, text) => {
    const root = html(text);
    expect(root.querySelectorAll(what).length).toBeGreaterThan(deepest - 3);
    expect(root.querySelectorAll(what).length).toBeLessThanOrEqual(deepest);
    expect(root.textContent).toContain("x");
  });

  it("keeps a mistake to itself, and begins anew with another text", () => {
    const silent = vi.spyOn(console, "error").mockImplementation(() => {});
    const page = (text: string) => (
      <>
        <p>The statement that failed</p>
        <Markdown text={text} />
      </>
    );
    try {
      const text = "about\n\n```sql\nBREAK\n```";
      const { container, rerender } = render(page(text));
      expect(screen.getByText("The statement that failed")).toBeTruthy();
      expect(container.querySelector("pre")?.textContent).toBe(text);
      expect(screen.queryByRole("alert")).toBeNull();
      rerender(page("*fine*"));
      expect(container.querySelector("em")?.textContent).toBe("fine");
    } finally {
      silent.mockRestore();
    }
  });
});

describe("markdown", () => {
  it("keeps its headings below the page's", () => {
    html("# One\n\n## Two\n\n### Three");
    expect(screen.getByRole("heading", { name: "One" }).tagName).toBe("H3");
    expect(screen.getByRole("heading", { name: "Three" }).tagName).toBe("H5");
  });

  it("writes lists, tasks, tables and code", () => {
    const root = html(
      "3. a\n4. b\n\n- [x] done\n- [ ] open\n\n| k | v |\n|---|---|\n| a | b |\n\n```sql\nSELECT 1;\n```",
    );
    expect(root.querySelector("ol")?.getAttribute("start")).toBe("3");
    expect(root.querySelectorAll("li.task")).toHaveLength(2);
    expect(root.querySelectorAll("li.task")[0]?.textContent).toContain("done:");
    expect(root.querySelector("td")?.textContent).toBe("a");
    expect(root.querySelector(".sql-keyword")?.textContent).toBe("SELECT");
  });

  it("reads entities once", () => {
    expect(html("a &amp;lt; b &lt;c&gt; `&amp;`").textContent).toBe("a &lt; b <c> &");
  });
});

test.each([
  ["https://a.example/x?y=1", "https://a.example/x?y=1"],
  ["mailto:ada@example.com", "mailto:ada@example.com"],
  ["javascript:alert(1)", undefined],
  [" javascript:alert(1)", undefined],
  ["data:text/html,x", undefined],
  ["file:///etc/passwd", undefined],
  ["/relative", undefined],
  ["", undefined],
])("safeUrl(%s) is %s", (text, want) => expect(safeUrl(text)).toBe(want));

test.each([
  ["&lt;&#65;&#x42;&nbsp;", "<AB\u00a0"],
  ["&nothing; &#0; &#x110000; &", "&nothing; &#0; &#x110000; &"],
])("decode(%s)", (text, want) => expect(decode(text)).toBe(want));
