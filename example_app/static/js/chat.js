// The chat: an answer comes as the stream of its own request, and what other tabs asked by
// the stream that all pages share.

import { follow, send } from "./events.js";
import { Exchanges } from "./exchanges.js";
import { stream } from "./page.js";
import { showProblem } from "./problem.js";
import { isOver } from "./session.js";
import { showStateOf } from "./state.js";

const $ = (selector) => document.querySelector(selector);
const page = $("#chat");
const box = $("#message");
const exchanges = new Exchanges($("#exchanges"));

// What stops the answer that is on its way; null while there is none.
let controller = null;

// Whether history was lost meanwhile: what is shown then has to wait for the answer.
let isStale = false;

showStateOf(stream);
exchanges.begin(JSON.parse($("#kept").textContent));
showButtons();

stream.on("chat", (exchange) => exchanges.keep(exchange));
stream.on("chatCleared", () => exchanges.begin([]));
stream.on("reset", reload);
stream.onState(() => {
  // Who has signed out must not see an answer grow.
  if (isOver(stream)) controller?.abort();
});

async function ask(question) {
  controller = new AbortController();
  const { signal } = controller;
  const shown = exchanges.add(question);
  exchanges.goToEnd();
  $("#problem").replaceChildren();
  showButtons();
  say("Waiting for the answer.");
  try {
    const response = await send(page.dataset.ask, {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ message: question }),
      signal,
    });
    // The hub names it by the same id when it is kept.
    exchanges.name(shown, response.headers.get("Exchange-Id"));
    await follow(response, (_, { content }) => exchanges.write(shown, content));
    exchanges.end(shown, "complete");
    say(`Answer: ${exchanges.answerOf(shown)}`);
  } catch (error) {
    if (signal.aborted) stopped(shown, question);
    else failed(shown, question, error);
  } finally {
    controller = null;
    showButtons();
    if (isStale) reload();
  }
}

function stopped(shown, question) {
  say("Stopped.");
  if (exchanges.answerOf(shown)) {
    exchanges.end(shown, "stopped");
    return;
  }
  // Nothing of it is kept, so what was asked goes back to where it was written.
  shown.remove();
  box.value ||= question;
}

function failed(shown, question, error) {
  say("");
  if (!("kept" in shown.dataset)) exchanges.end(shown, "failed");
  showProblem($("#problem"), error, () => {
    if (!("kept" in shown.dataset)) shown.remove();
    ask(question);
    box.focus();
  });
}

async function reload() {
  // An answer that grows is not among what is kept.
  isStale = controller !== null;
  if (isStale) return;
  try {
    const answer = await send(page.dataset.messages, { method: "GET" });
    const { exchanges: kept } = await answer.json();
    isStale = controller !== null;
    if (!isStale) exchanges.begin(kept);
  } catch {
    // The next answer's end is another occasion.
    isStale = true;
  }
}

function say(text) {
  $("#said").textContent = text;
}

// What the form and the buttons do

function showButtons() {
  const answering = controller !== null;
  const focused = document.activeElement;
  $("#send").hidden = answering;
  $("#send").disabled = !box.value.trim();
  $("#stop").hidden = !answering;
  $("#clear").disabled = answering;
  // A button that goes takes the focus with it.
  if (focused?.hidden) box.focus();
}

function askWhatIsWritten() {
  const question = box.value.trim();
  if (controller !== null || !question) return;
  box.value = "";
  ask(question);
}

box.addEventListener("input", showButtons);
box.addEventListener("keydown", (event) => {
  // While a character is being composed, Enter ends that. Safari says that it is composed
  // no more, but with the code that a key has there.
  const isComposing = event.isComposing || event.keyCode === 229;
  if (event.key !== "Enter" || event.shiftKey || isComposing) return;
  event.preventDefault();
  askWhatIsWritten();
});
$("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  askWhatIsWritten();
});
// The one takes the other's place: a double click would press both.
const isSecond = (click) => click.detail > 1;
$("#send").addEventListener("click", (event) => {
  if (isSecond(event)) event.preventDefault();
});
$("#stop").addEventListener("click", (event) => {
  if (!isSecond(event)) controller?.abort();
});
$("#clear").addEventListener("click", async () => {
  try {
    await send(page.dataset.messages, { method: "DELETE" });
    $("#problem").replaceChildren();
    exchanges.begin([]);
  } catch (error) {
    showProblem($("#problem"), error);
  }
});
