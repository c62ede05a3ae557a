// The one script that is no module: it runs before anything is painted, so that a page
// never shows the other scheme first.

{
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Storage can be switched off; then the scheme is the system's.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
