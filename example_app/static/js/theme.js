// The only script that is not a module. It runs before anything is painted, so a page never
// shows the other scheme first.

{
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Storage can be switched off; the page then uses the system's scheme.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
