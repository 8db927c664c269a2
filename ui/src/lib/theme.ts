import { useSyncExternalStore } from "react";

/** A Theme is what the reader wants; "system" follows the system. */
export type Theme = "system" | "light" | "dark";

// public/theme.js reads the same key before anything is drawn.
const key = "aurora-theme";
const listeners = new Set<() => void>();

function read(): Theme {
  try {
    const value = localStorage.getItem(key);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system"; // storage may be forbidden
  }
}

/** setTheme keeps the wish for the next visit where it can. */
export function setTheme(theme: Theme) {
  try {
    if (theme === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, theme);
  } catch {
    // then it lasts as long as the page
  }
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const each of listeners) each();
}

export function useTheme(): Theme {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => (document.documentElement.dataset.theme as Theme | undefined) ?? read(),
  );
}
