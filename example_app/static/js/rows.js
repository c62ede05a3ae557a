// Rows of tables: the first cell of each is the row's head.

/** Replace the rows of a table's body. `cells` has a function for each column. */
export function fill(body, items, cells) {
  body.replaceChildren(...items.map((item) => row(cells.map((cell) => cell(item)))));
}

function row(texts) {
  const made = document.createElement("tr");
  for (const [at, text] of texts.entries()) {
    const box = document.createElement(at ? "td" : "th");
    if (!at) box.scope = "row";
    box.textContent = text;
    made.append(box);
  }
  return made;
}
