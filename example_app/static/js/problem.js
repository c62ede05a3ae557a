// Shows an error, the id that finds it in the log, and a button to try again.

export function showProblem(element, { message, id }, again) {
  const line = document.createElement("p");
  line.append(message);
  if (id) {
    const code = document.createElement("code");
    code.textContent = id;
    line.append(" Support finds it in the log by ", code, ".");
  }
  element.replaceChildren(line, ...(again ? [button(element, again)] : []));
}

function button(element, again) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet";
  made.textContent = "Try again";
  made.addEventListener("click", () => {
    element.replaceChildren();
    again();
  });
  return made;
}
