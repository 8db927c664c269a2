// Going back through pages that are named by cursors. A cursor only leads
// forward, so those that were used are kept here, by what they page through.

const trails = new Map<string, string[]>();
const most = 50;

/** remember notes that one came to a page of a list from the page before. */
export function remember(list: string, from: string, to: string) {
  const trail = trails.get(list) ?? [""];
  const at = trail.indexOf(from);
  trails.delete(list);
  trails.set(list, [...trail.slice(0, at + 1), to]);
  const oldest = trails.keys().next().value;
  if (trails.size > most && oldest !== undefined) trails.delete(oldest);
}

/** before returns the cursor of the page before, or nothing where it is not known, as after a reload. */
export function before(list: string, cursor: string): string | undefined {
  const trail = trails.get(list) ?? [];
  const at = trail.indexOf(cursor);
  return at > 0 ? trail[at - 1] : undefined;
}

/** pageNumber says which page a cursor is, counted from 1, or nothing where it is not known. */
export function pageNumber(list: string, cursor: string): number | undefined {
  if (!cursor) return 1;
  const at = (trails.get(list) ?? []).indexOf(cursor);
  return at > 0 ? at + 1 : undefined;
}
