// Sets the wished theme before anything is drawn. src/lib/theme.ts has the rest.
try {
  const theme = localStorage.getItem("aurora-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // storage may be forbidden: then the system's theme it is
}
