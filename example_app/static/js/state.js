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

export function showStateOf(stream) {
  const badge = document.querySelector("#state");
  const text = badge.querySelector(".state-text");
  const reconnect = document.querySelector("#reconnect");
  const show = () => {
    const why = stream.state === "open" ? null : stream.error;
    badge.dataset.state = stream.state;
    text.textContent = why ? `${stream.state}: ${REASONS[why.reason] ?? why.reason}` : stream.state;
    badge.title = why?.message ?? "";
    // Closed is for good, unless somebody asks for more. Not where it would show one
    // person's events in the page of another: that has to be loaded anew.
    reconnect.hidden = stream.state !== "closed" || why?.reason === "user-changed";
  };
  reconnect.addEventListener("click", () => stream.reconnect());
  stream.onState(show);
  show();
}
