// The switch in the bar: auto, light or dark. The browser keeps the choice for all tabs.

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
      // Without storage, the choice lasts until the next page.
    }
  });
}

// The browser sends this event to all tabs but the one that changed the theme.
addEventListener("storage", (event) => {
  if (event.key === "theme" || event.key === null) show(event.newValue);
});

show(root.dataset.theme);
