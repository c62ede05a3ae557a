// Shows the state of an EventSource as one word.

const badge = document.querySelector("#state");

export function showStateOf(source) {
  const show = () => {
    const state = ["connecting", "open", "closed"][source.readyState];
    badge.textContent = state;
    badge.dataset.state = state;
  };
  source.addEventListener("open", show);
  // An error is not the end: mostly the browser is connecting again already. It has only
  // given up (closed) where the server refused the stream for good, after a logout say.
  source.addEventListener("error", show);
  show();
}
