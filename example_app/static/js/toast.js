// Short notices in the corner. The element is a live region, so they are read out too.

const SECONDS = 8;
const MOST = 4;

const toasts = document.querySelector("#toasts");

export function toast(text) {
  const note = document.createElement("div");
  note.className = "toast";
  const line = document.createElement("p");
  // textContent, never innerHTML: the text was written by somebody else.
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
 * Remove it after a while, but not while somebody reads or is about to dismiss it, nor
 * before the page is looked at.
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
