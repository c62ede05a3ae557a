// The import: the page posts a file, and the answer streams the progress.

import { Problem, follow, send } from "./events.js";
import { stream } from "./page.js";
import { showProblem } from "./problem.js";
import { isOver } from "./session.js";
import { showStateOf } from "./state.js";

const $ = (selector) => document.querySelector(selector);
const page = $("#import");
const number = new Intl.NumberFormat("en");
const megabytes = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const mostBytes = Number(page.dataset.mostBytes);
const mostProblems = Number(page.dataset.mostProblems);

// Cancels the running import; null while there is none.
let controller = null;

showStateOf(stream);
stream.onState(() => {
  if (isOver(stream)) controller?.abort();
});

const show = {
  progress(data) {
    $("#progress").max = data.of;
    $("#progress").value = data.bytes;
    for (const count of document.querySelectorAll("[data-count]")) {
      count.textContent = number.format(data[count.dataset.count]);
    }
    const more = data.refused - mostProblems;
    $("#more").textContent = more > 0 ? `And ${number.format(more)} more.` : "";
  },
  contacts({ count }) {
    $("#count").textContent = number.format(count);
  },
  problem({ line, problem }) {
    const item = document.createElement("li");
    item.textContent = `Line ${line}: ${problem}`;
    $("#problems").append(item);
    $("#refusals").hidden = false;
  },
  unreadable({ line, problem }) {
    showProblem($("#problem"), { message: `The file cannot be read from line ${line} on: ${problem}.` });
  },
  summary(data) {
    show.progress(data);
    // A screen reader reads this once at the end, and not after each batch.
    const end = data.complete ? "Imported" : "Imported as far as the file could be read";
    $("#stage").textContent =
      `${end}: ${number.format(data.added)} added, ${number.format(data.known)} there already,` +
      ` ${number.format(data.refused)} refused.`;
  },
};

async function run(file) {
  controller = new AbortController();
  const { signal } = controller;
  clear();
  showButtons();
  $("#stage").textContent = "Sending the file.";
  try {
    const body = new FormData();
    body.append("file", await copyOf(file));
    const response = await send(page.dataset.import, { body, signal });
    $("#stage").textContent = "Importing.";
    await follow(response, (type, data) => show[type](data));
  } catch (error) {
    if (signal.aborted) {
      $("#stage").textContent = "Cancelled. What was added before is kept.";
    } else {
      $("#stage").textContent = "";
      showProblem($("#problem"), error, () => run(file));
    }
  } finally {
    controller = null;
    showButtons();
    // If this fails too, the page already shows a problem, and the old count stays.
    showCount().catch(() => {});
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
  show.progress({ rows: 0, added: 0, known: 0, refused: 0, bytes: 0, of: 1 });
  $("#problem").replaceChildren();
  $("#problems").replaceChildren();
  $("#refusals").hidden = true;
}

async function showCount() {
  const answer = await send(page.dataset.contacts, { method: "GET" });
  show.contacts(await answer.json());
}

// Another tab may import too. Each commit brings the new count to all of them.
stream.on("contacts", show.contacts);

function showButtons() {
  const running = controller !== null;
  const focused = document.activeElement;
  $("#start").disabled = running;
  $("#cancel").disabled = !running;
  $("#clear").disabled = running;
  // A button that is disabled loses the focus, so another one receives it.
  if (focused?.disabled) (running ? $("#cancel") : $("#start")).focus();
}

$("#upload").addEventListener("submit", (event) => {
  event.preventDefault();
  const file = $("#file").files[0];
  if (file.size <= mostBytes) {
    run(file);
    return;
  }
  clear();
  // The server would refuse the file too, but only after it was sent.
  const [size, most] = [file.size, mostBytes].map((bytes) => megabytes.format(bytes / 1024 / 1024));
  showProblem($("#problem"), { message: `The file has ${size} MB; it may have ${most}.` });
});
$("#cancel").addEventListener("click", () => controller?.abort());
$("#clear").addEventListener("click", async () => {
  try {
    await send(page.dataset.contacts, { method: "DELETE" });
    await showCount();
    $("#problem").replaceChildren();
  } catch (error) {
    showProblem($("#problem"), error);
  }
});
