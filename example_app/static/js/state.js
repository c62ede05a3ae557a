// Shows the state of a stream in the page's badge, and the reason if it is not open.

// The client's reasons in words that a visitor understands.
const REASONS = {
  unauthorized: "signed out",
  forbidden: "not allowed",
  "bad-request": "the server refused the request",
  "no-content": "there is nothing to listen to",
  "not-a-stream": "the answer was no stream",
  "user-changed": "somebody else signed in",
  network: "no connection",
  busy: "too many streams",
  unavailable: "the server is not ready",
  silent: "the line went silent",
  ticket: "no ticket",
  hidden: "paused while the page is hidden",
};

// The client's states in words that a visitor understands.
const STATES = { connecting: "connecting", open: "live", reconnecting: "reconnecting", closed: "closed" };

// After these reasons another user may be signed in, whose events are not for this page.
// The page has to be loaded again. The notice about the session offers that.
const LOADED_ANEW = new Set(["unauthorized", "user-changed"]);

export function showStateOf(stream) {
  const badge = document.querySelector("#state");
  const text = badge.querySelector(".state-text");
  const reconnect = document.querySelector("#reconnect");
  const show = () => {
    const why = stream.state === "open" ? null : stream.error;
    badge.dataset.state = stream.state;
    const state = STATES[stream.state];
    text.textContent = why ? `${state}: ${REASONS[why.reason] ?? why.reason}` : state;
    badge.title = why?.message ?? "";
    // A closed stream stays closed until the user clicks this button.
    reconnect.hidden = stream.state !== "closed" || LOADED_ANEW.has(why?.reason);
  };
  reconnect.addEventListener("click", () => stream.reconnect());
  stream.onState(show);
  show();
}
