// Shows a notice when the session of this page has ended, or belongs to another user.

const notice = document.querySelector("#session");
const main = document.querySelector("#main");

const NOTICES = {
  unauthorized: () => say("You signed out in another tab.", link("Sign in again", notice.dataset.login)),
  "user-changed": () => say("Somebody else is signed in here now.", button("Reload the page")),
};

/** Whether the stream was closed because its session is over or belongs to another user. */
export function isOver({ state, error }) {
  return state === "closed" && error?.reason in NOTICES;
}

export function showSession(stream) {
  let shown = null;
  stream.onState(() => {
    // After a new login in any tab the stream is connected again, and the notice goes.
    const reason = stream.state === "closed" ? stream.error?.reason : null;
    if (reason === shown) return;
    shown = reason;
    // Actions on this page would be done in the name of the user who is signed in now.
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
