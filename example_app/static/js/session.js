// Says what has become of the session behind this page: it ended, or is another person's.

const notice = document.querySelector("#session");
const main = document.querySelector("#main");

const NOTICES = {
  unauthorized: () => say("You signed out in another tab.", link("Sign in again", notice.dataset.login)),
  "user-changed": () => say("Somebody else is signed in here now.", button("Load the page anew")),
};

/** Whether the stream was closed because its session is over, or another person's. */
export function isOver({ state, error }) {
  return state === "closed" && error?.reason in NOTICES;
}

export function showSession(stream) {
  let shown = null;
  stream.onState(() => {
    // Who signs in again, in whichever tab, is connected again, and nothing is to be said.
    const reason = stream.state === "closed" ? stream.error?.reason : null;
    if (reason === shown) return;
    shown = reason;
    // What is done here would be done in the name of whoever is signed in now.
    main.inert = reason in NOTICES;
    if (NOTICES[reason]) NOTICES[reason]();
    else notice.replaceChildren();
  });
}

function say(text, way) {
  const line = document.createElement("p");
  line.append(text, " ", way);
  notice.replaceChildren(line);
}

function link(text, url) {
  const made = document.createElement("a");
  made.href = url;
  made.textContent = text;
  return made;
}

function button(text) {
  const made = document.createElement("button");
  made.className = "quiet";
  made.textContent = text;
  made.addEventListener("click", () => location.reload());
  return made;
}
