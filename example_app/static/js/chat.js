// The chat. An answer is the stream of its own request. The exchanges of other tabs arrive
// by the stream that all pages share.

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

// Stops the answer that is coming; null while there is none.
let controller = null;

// Whether history was lost during an answer: the page reloads its state after the answer.
let isStale = false;

showStateOf(stream);
exchanges.begin(JSON.parse($("#kept").textContent));
showButtons();

// This page shows the conversation without an id. Programs may have others.
stream.on("chat", (exchange) => exchange.conversationId ?? exchanges.keep(exchange));
stream.on("chatCleared", ({ conversationId }) => conversationId ?? exchanges.begin([]));
stream.on("reset", reload);
stream.onState(() => {
  // The page of a user who has signed out must not show any more of an answer.
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
    // The hub's event has the same id when the exchange has been kept.
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
  // The exchange was not kept, so the question goes back into the text box.
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
  // An answer that is still coming is not among the kept exchanges.
  isStale = controller !== null;
  if (isStale) return;
  try {
    const answer = await send(page.dataset.messages, { method: "GET" });
    const { exchanges: kept } = await answer.json();
    isStale = controller !== null;
    if (!isStale) exchanges.begin(kept);
  } catch {
    // Try again at the end of the next answer.
    isStale = true;
  }
}

function say(text) {
  $("#said").textContent = text;
}

// The form and the buttons

function showButtons() {
  const answering = controller !== null;
  const focused = document.activeElement;
  $("#send").hidden = answering;
  $("#send").disabled = !box.value.trim();
  $("#stop").hidden = !answering;
  $("#clear").disabled = answering;
  // A button that is hidden would take the focus with it.
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
  // While a character is being composed, Enter ends the composition. Safari then reports
  // isComposing as false, but gives the key the code of a composition.
  const isComposing = event.isComposing || event.keyCode === 229;
  if (event.key !== "Enter" || event.shiftKey || isComposing) return;
  event.preventDefault();
  askWhatIsWritten();
});
$("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  askWhatIsWritten();
});
// Send and Stop replace each other in the same place: a double click would press both.
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
