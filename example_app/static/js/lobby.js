// The people in the lobby, and who of them is typing.

// How long a person is shown as typing after the last sign of it, and the time between
// two signs that this page gives.
const TYPING_MS = 4000;
const SIGN_MS = 2000;

/** Show the people in a list, and tell them when somebody types in a text box. */
export function showLobby(stream, { list, box, channel, url }) {
  const typing = new Map();
  let signedAt = -Infinity;

  const people = stream.presence(channel, { onChange: show });

  stream.on("typing", ({ user }) => {
    clearTimeout(typing.get(user));
    // No event tells of the end.
    typing.set(user, setTimeout(() => typing.delete(user) && show(), TYPING_MS));
    show();
  });

  box.addEventListener("input", () => {
    const now = performance.now();
    if (now - signedAt < SIGN_MS || !stream.clientId) return;
    signedAt = now;
    fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ clientId: stream.clientId }),
      // A sign that is lost does no harm.
    }).catch(() => {});
  });

  function show() {
    // While the server does not know who is there, the page shows who was.
    if (people.isKnown) list.replaceChildren(...[...people.values()].map(personOf));
  }

  function personOf({ user, data }) {
    const person = document.createElement("li");
    person.dataset.user = user;
    person.append(part("avatar", data.initials), part("name", user));
    person.firstChild.ariaHidden = "true";
    if (typing.has(user)) person.append(part("typing", "is typing …"));
    return person;
  }
}

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}
