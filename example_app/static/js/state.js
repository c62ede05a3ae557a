// Shows the state of a stream in the page's badge, and why it is not open.

// In words that a visitor understands; the client's own names are for code.
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
  hidden: "paused while nobody looks",
};

// Whoever is signed in then may be another person, whose events are not for this page: it
// has to be loaded anew, to which the notice about the session leads.
const LOADED_ANEW = new Set(["unauthorized", "user-changed"]);

export function showStateOf(stream) {
  const badge = document.querySelector("#state");
  const text = badge.querySelector(".state-text");
  const reconnect = document.querySelector("#reconnect");
  const show = () => {
    const why = stream.state === "open" ? null : stream.error;
    badge.dataset.state = stream.state;
    text.textContent = why ? `${stream.state}: ${REASONS[why.reason] ?? why.reason}` : stream.state;
    badge.title = why?.message ?? "";
    // Closed is for good, unless somebody asks for more.
    reconnect.hidden = stream.state !== "closed" || LOADED_ANEW.has(why?.reason);
  };
  reconnect.addEventListener("click", () => stream.reconnect());
  stream.onState(show);
  show();
}
