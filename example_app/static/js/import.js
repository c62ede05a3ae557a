// The import. It outlives its readers: each tab reads it by its id, also after a reload. The
// stream that all pages share tells the tabs of an import that begins.

import { answer, showProgress } from "sse-hub/answer";

import { stream } from "./page.js";
import { showProblem } from "./problem.js";
import { Problem, send } from "./requests.js";
import { isOver } from "./session.js";
import { showStateOf } from "./state.js";

const LEFT = "The import goes on without this page.";
const AGAIN = "Send the same file again to continue.";

// The reasons of the server for an import that is not complete, in words for the user.
const REASONS = {
  shutdown: `The server is restarting. ${AGAIN}`,
  lost: `The server process that imported the file is gone. ${AGAIN}`,
  timeout: `The import took too long. ${AGAIN}`,
};

const $ = (selector) => document.querySelector(selector);
const page = $("#import");
const number = new Intl.NumberFormat("en");
const megabytes = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const mostBytes = Number(page.dataset.mostBytes);
const mostProblems = Number(page.dataset.mostProblems);

// Cancels the request that sends a file; null while there is none.
let sending = null;

// The import that this tab shows; null while there is none.
let running = null;

// What is shown at the end of a complete import: the words, which a screen reader reads once,
// and the problem of a file that cannot be read to its end.
let summary = "";
let unreadable = null;

showStateOf(stream);
stream.on("importStarted", ({ id }) => follow(id));
// Each commit brings the new count to all tabs.
stream.on("contacts", ({ count }) => showContacts(count));
stream.onState(() => {
  // The page of a user who has signed out must not show any more of an import.
  if (!isOver(stream)) return;
  sending?.abort();
  running?.close();
  ended(LEFT);
});

const show = {
  counts(data) {
    for (const count of document.querySelectorAll("[data-count]")) {
      count.textContent = number.format(data[count.dataset.count]);
    }
    const more = data.refused - mostProblems;
    $("#more").textContent = more > 0 ? `And ${number.format(more)} more.` : "";
  },
  problem({ line, problem }) {
    const item = document.createElement("li");
    item.textContent = `Line ${line}: ${problem}`;
    $("#problems").append(item);
    $("#refusals").hidden = false;
  },
  unreadable({ line, problem }) {
    unreadable = { message: `The file cannot be read from line ${line} on: ${problem}.` };
  },
  summary(data) {
    show.counts(data);
    const end = data.complete ? "Imported" : "Imported as far as the file could be read";
    summary =
      `${end}: ${number.format(data.added)} added, ${number.format(data.known)} there already,` +
      ` ${number.format(data.refused)} refused.`;
  },
};

/** Show an import as it goes on, in this tab as in all others. */
function follow(id) {
  if (running) return;
  clear();
  unreadable = null;
  $("#stage").textContent = "Importing.";
  running = answer(`${page.dataset.imports}/${id}`, {
    stopUrl: () => page.dataset.stop,
    onProgress: showProgress($("#progress")),
    onPart: (_, { type, data }) => show[type]?.(data),
    onEnd: stopped,
  });
  showButtons();
}

function stopped({ state, reason, errorId }) {
  if (!running) return;
  if (state === "done") {
    ended(summary);
    if (unreadable) showProblem($("#problem"), unreadable);
  } else if (state === "stopped") {
    ended("Cancelled. What was added before is kept.");
  } else if (reason === "unauthorized") {
    ended(LEFT);
  } else {
    const other = state === "lost" ? `The import broke off. ${AGAIN}` : "Something went wrong on the server.";
    showProblem($("#problem"), new Problem(REASONS[reason] ?? other, errorId));
    ended("");
  }
}

function ended(told) {
  if (!running) return;
  running = null;
  $("#stage").textContent = told;
  showButtons();
  // If this fails, the old count stays.
  showCount().catch(() => {});
}

async function start(file) {
  sending = new AbortController();
  const { signal } = sending;
  clear();
  $("#stage").textContent = "Sending the file.";
  showButtons();
  try {
    const body = new FormData();
    body.append("file", await copyOf(file));
    const response = await send(page.dataset.imports, { body, signal });
    const { id } = await response.json();
    follow(id);
  } catch (error) {
    if (!running) $("#stage").textContent = signal.aborted ? "Cancelled. Nothing was added." : "";
    if (!signal.aborted) showProblem($("#problem"), error, () => start(file));
  } finally {
    sending = null;
    showButtons();
  }
}

async function cancel() {
  sending?.abort();
  try {
    await running?.stop();
  } catch (error) {
    // An import that has just ended needs no stop.
    if (error.status === 404) return;
    showProblem($("#problem"), new Problem("The import could not be cancelled."));
  }
}

// Reads the file before it is sent: a file that cannot be read would otherwise look like a
// broken connection.
async function copyOf(file) {
  try {
    return new File([await file.arrayBuffer()], file.name);
  } catch {
    throw new Problem("The file was moved or changed, or is a folder: choose it again.");
  }
}

function clear() {
  show.counts({ rows: 0, added: 0, known: 0, refused: 0 });
  showProgress($("#progress"))({ done: 0, total: 1, text: "" });
  $("#problem").replaceChildren();
  $("#problems").replaceChildren();
  $("#refusals").hidden = true;
}

function showContacts(count) {
  $("#count").textContent = number.format(count);
}

async function showCount() {
  const response = await send(page.dataset.contacts, { method: "GET" });
  showContacts((await response.json()).count);
}

function showButtons() {
  const isBusy = sending !== null || running !== null;
  const focused = document.activeElement;
  $("#start").disabled = isBusy;
  $("#cancel").disabled = !isBusy;
  $("#clear").disabled = isBusy;
  // A button that is disabled loses the focus, so another one receives it.
  if (focused?.disabled) (isBusy ? $("#cancel") : $("#start")).focus();
}

JSON.parse($("#running").textContent).forEach(follow);

$("#upload").addEventListener("submit", (event) => {
  event.preventDefault();
  const file = $("#file").files[0];
  if (file.size <= mostBytes) {
    start(file);
    return;
  }
  clear();
  // The server would refuse the file too, but only after it was sent.
  const [size, most] = [file.size, mostBytes].map((bytes) => megabytes.format(bytes / 1024 / 1024));
  showProblem($("#problem"), { message: `The file has ${size} MB; it may have ${most}.` });
});
$("#cancel").addEventListener("click", cancel);
$("#clear").addEventListener("click", async () => {
  try {
    await send(page.dataset.contacts, { method: "DELETE" });
    await showCount();
    $("#problem").replaceChildren();
  } catch (error) {
    showProblem($("#problem"), error);
  }
});
