// Copies the text of a button's data-copy, and says so on the button.

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      // Browsers refuse the clipboard without HTTPS, except on this machine.
      button.replaceWith(Object.assign(document.createElement("pre"), { textContent: button.dataset.copy }));
    }
  });
}
