// The chat. An answer outlives its readers: each tab reads it by its id, also after a reload.
// The stream that all pages share tells the tabs of new questions and of kept exchanges.

import { answer } from "sse-hub/answer";

import { Exchanges } from "./exchanges.js";
import { stream } from "./page.js";
import { showProblem } from "./problem.js";
import { Problem, send } from "./requests.js";
import { isOver } from "./session.js";
import { showStateOf } from "./state.js";

// The reasons of the server for an answer that is not complete, in words for the user.
const REASONS = {
  shutdown: "The server is restarting.",
  lost: "The server process that made this answer is gone.",
  timeout: "The answer took too long.",
};

const $ = (selector) => document.querySelector(selector);
const page = $("#chat");
const box = $("#message");
const exchanges = new Exchanges($("#exchanges"));

// The answers that are coming, by their ids.
const replies = new Map();

// The ids of the answers that were stopped in this tab.
const stoppedHere = new Set();

// Cancels the request that asks; null while there is none.
let asking = null;

// Settles when the request that asks is over, and its exchange has an id.
let asked = Promise.resolve();

// Whether history was lost during an answer: the page reloads its state after the answer.
let isStale = false;

showStateOf(stream);
exchanges.begin(JSON.parse($("#kept").textContent));
JSON.parse($("#running").textContent).forEach(({ id, question }) => follow(id, question));
showButtons();

hear("chatAsked", ({ id, question }) => follow(id, question));
hear("chat", (exchange) => {
  // This page shows the conversation without an id. Programs may have others.
  if (exchange.conversationId) return;
  exchanges.keep(exchange);
  finish(exchange.id, () => say(saidOf(exchange)));
});
hear("chatCleared", ({ conversationId }) => conversationId ?? exchanges.begin([]));
stream.on("reset", reload);
stream.onState(() => {
  // The page of a user who has signed out must not show any more of an answer.
  if (!isOver(stream)) return;
  asking?.abort();
  for (const id of replies.keys()) finish(id, (shown) => exchanges.end(shown, "left"));
});

/** Listen to events that may be about this tab's own request. Its exchange first gets its id. */
function hear(type, handler) {
  stream.on(type, async (data) => {
    await asked;
    handler(data);
  });
}

function isAnswering() {
  return asking !== null || replies.size > 0;
}

function ask(question) {
  asked = start(question);
}

async function start(question) {
  asking = new AbortController();
  const { signal } = asking;
  const shown = exchanges.add(question);
  exchanges.goToEnd();
  $("#problem").replaceChildren();
  showButtons();
  say("Waiting for the answer.");
  try {
    const response = await send(page.dataset.answers, {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ message: question }),
      signal,
    });
    const { id } = await response.json();
    exchanges.name(shown, id);
    follow(id, question);
  } catch (error) {
    if (signal.aborted) takeBack(shown);
    else failed(shown, "failed", error);
  } finally {
    asking = null;
    settled();
  }
}

/** Show an answer as it comes, in this tab as in all others. */
function follow(id, question) {
  const before = exchanges.find(id);
  if (replies.has(id) || (before && before.dataset.state !== "answering")) return;
  if (!before) exchanges.name(exchanges.add(question), id);
  const url = `${page.dataset.answers}/${id}`;
  const reply = answer(url, {
    stopUrl: () => `${url}/stop`,
    onText: (text) => exchanges.write(exchanges.find(id), text),
    onEnd: (end) => finish(id, (shown) => ended(shown, id, end)),
  });
  replies.set(id, reply);
  showButtons();
}

/** Stop following an answer, whose end may be told twice: by itself and by the hub. */
function finish(id, show) {
  const reply = replies.get(id);
  if (!reply) return;
  replies.delete(id);
  reply.close();
  show(exchanges.find(id));
  stoppedHere.delete(id);
  settled();
}

function settled() {
  showButtons();
  if (isStale) reload();
}

function ended(shown, id, { state, reason, errorId, error }) {
  const text = exchanges.answerOf(shown);
  if (state === "done" || (state === "stopped" && text)) {
    exchanges.end(shown, state === "done" ? "complete" : "stopped");
    say(saidOf({ answer: text, stopped: state === "stopped" }));
  } else if (state === "stopped") {
    // The exchange was not kept.
    if (stoppedHere.has(id)) takeBack(shown);
    else shown.remove();
  } else if (reason === "unauthorized") {
    exchanges.end(shown, "left");
  } else if (error?.status === 404 && !text) {
    // It has ended long ago. A kept one comes by the stream.
    shown.remove();
  } else {
    const other = state === "lost" ? "The answer broke off." : "Something went wrong on the server.";
    failed(shown, state, new Problem(REASONS[reason] ?? other, errorId));
  }
}

/** Remove a question without an answer. It goes back into the text box. */
function takeBack(shown) {
  say("Stopped.");
  box.value ||= exchanges.questionOf(shown);
  shown.remove();
}

function failed(shown, state, problem) {
  say("");
  exchanges.end(shown, state);
  showProblem($("#problem"), problem, () => {
    if (!("kept" in shown.dataset)) shown.remove();
    ask(exchanges.questionOf(shown));
    box.focus();
  });
}

async function reload() {
  // An answer that is still coming is not among the kept exchanges.
  isStale = isAnswering();
  if (isStale) return;
  try {
    const response = await send(page.dataset.messages, { method: "GET" });
    const { exchanges: kept } = await response.json();
    isStale = isAnswering();
    if (!isStale) exchanges.begin(kept);
  } catch {
    // Try again at the end of the next answer.
    isStale = true;
  }
}

async function stop() {
  asking?.abort();
  for (const id of replies.keys()) stoppedHere.add(id);
  try {
    await Promise.all([...replies.values()].map((reply) => reply.stop()));
  } catch (error) {
    // An answer that has just ended needs no stop.
    if (error.status === 404) return;
    showProblem($("#problem"), new Problem("The answer could not be stopped."));
  }
}

function saidOf({ answer, stopped }) {
  return stopped ? "Stopped." : `Answer: ${answer}`;
}

function say(text) {
  $("#said").textContent = text;
}

// The form and the buttons

function showButtons() {
  const answering = isAnswering();
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
  if (isAnswering() || !question) return;
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
  if (!isSecond(event)) stop();
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
