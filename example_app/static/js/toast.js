// Short notices in the corner. Screen readers read them too: the element is a live region.

const SECONDS = 8;
const MOST = 4;

const toasts = document.querySelector("#toasts");

export function toast(text) {
  const note = document.createElement("div");
  note.className = "toast";
  const line = document.createElement("p");
  // textContent, never innerHTML: another person wrote the text.
  line.textContent = text;
  note.append(line, dismissButton(note));
  toasts.append(note);
  while (toasts.children.length > MOST) toasts.firstChild.remove();
  removeLater(note);
}

function dismissButton(note) {
  const button = document.createElement("button");
  button.className = "dismiss";
  button.setAttribute("aria-label", "Dismiss");
  button.textContent = "×";
  button.addEventListener("click", () => note.remove());
  return button;
}

/**
 * Remove a notice after a while, but not while the pointer or the focus is on it, and not
 * while the page is hidden.
 */
function removeLater(note) {
  let timer;
  const start = () => {
    clearTimeout(timer);
    timer = setTimeout(() => (document.hidden ? start() : note.remove()), SECONDS * 1000);
  };
  const stop = () => clearTimeout(timer);
  for (const type of ["pointerenter", "focusin"]) note.addEventListener(type, stop);
  for (const type of ["pointerleave", "focusout"]) note.addEventListener(type, start);
  start();
}
