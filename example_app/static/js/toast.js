// Short notices in the corner. The element is a live region, so they are read out too.

const SECONDS = 6;
const MOST = 4;

const toasts = document.querySelector("#toasts");

export function toast(text) {
  const note = document.createElement("p");
  // textContent, never innerHTML: the text was written by somebody else.
  note.textContent = text;
  toasts.append(note);
  while (toasts.children.length > MOST) toasts.firstChild.remove();
  setTimeout(() => note.remove(), SECONDS * 1000);
}

/** Show an event of type "notification", whoever published it. */
export function toastEvent(event) {
  const { from, text } = JSON.parse(event.data);
  toast(from ? `${from}: ${text}` : text);
}
