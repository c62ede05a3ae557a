// The switch in the bar: auto, light or dark, kept in this browser, the same in all tabs.

const root = document.documentElement;
const choices = document.querySelectorAll("#theme input");

function show(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
  for (const choice of choices) choice.checked = choice.value === (root.dataset.theme ?? "auto");
}

for (const choice of choices) {
  choice.addEventListener("change", () => {
    show(choice.value);
    try {
      localStorage.setItem("theme", choice.value);
    } catch {
      // Not kept, then; it is right until the next page.
    }
  });
}

// Storage tells the other tabs, and never the one that wrote.
addEventListener("storage", (event) => {
  if (event.key === "theme" || event.key === null) show(event.newValue);
});

show(root.dataset.theme);
