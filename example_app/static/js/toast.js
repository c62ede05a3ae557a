// Short notices in the corner. Screen readers read them too: the element is a live region.
//
// They never cover the newest row of a page's list: they move to the other end of the window,
// and only those are shown for which there is room. A list says with data-newest which row is its newest.

const SECONDS = 8;
const MOST = 4;
// Pixels between two notices, and around all of them.
const GAP = 10;

const toasts = document.querySelector("#toasts");
const list = document.querySelector("[data-newest]");

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
  place();
}

addEventListener("scroll", place, { capture: true, passive: true });
addEventListener("resize", place);
new MutationObserver(place).observe(toasts, { childList: true });
if (list) new MutationObserver(place).observe(list, { childList: true, subtree: true, characterData: true });

/** Show the newest notices at an end of the window where they cover no newest row. */
function place() {
  if (!toasts.children.length) return;
  const notes = [...toasts.children].reverse();
  for (const note of notes) note.hidden = false;
  const heights = notes.map((note) => note.offsetHeight + GAP);
  const all = heights.reduce((sum, height) => sum + height, GAP);
  const room = roomBesideNewest();
  // They change sides only if they must.
  const side = toasts.dataset.side;
  if (room[side] < all) toasts.dataset.side = room.top > room.bottom ? "top" : "bottom";
  let left = room[toasts.dataset.side] - GAP;
  notes.forEach((note, at) => {
    left -= heights[at];
    note.hidden = left < 0;
  });
}

/** Return the free pixels between the newest row and both ends of the window. */
function roomBesideNewest() {
  const view = { top: 0, bottom: innerHeight };
  const row = list?.[`${list.dataset.newest}ElementChild`];
  if (!row) return { top: innerHeight, bottom: innerHeight };
  // The list scrolls, and so may show a part of the row only.
  const shown = [row, list].map((box) => box.getBoundingClientRect()).concat(view);
  const top = Math.max(...shown.map((box) => box.top));
  const bottom = Math.min(...shown.map((box) => box.bottom));
  return top < bottom ? { top, bottom: innerHeight - bottom } : { top: innerHeight, bottom: innerHeight };
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
