// The demo page: the stream that every page has, seen from the inside.

import { showLobby } from "./lobby.js";
import { stream } from "./page.js";
import { watchResume } from "./resume.js";
import { showSharingOf } from "./sharing.js";
import { showStateOf } from "./state.js";

// Events that are shown but not counted: those that the hub sends by itself, and signs of
// typing, which a page that was away does not receive.
const UNCOUNTED = new Set(["connected", "ping", "reset", "presence", "typing"]);

// Lists that grow with each event are bounded, or a tab that stays open would use up the
// memory.
const MOST_LINES = 200;
const MOST_IDS = 5000;

const $ = (selector) => document.querySelector(selector);
const page = $("#demo");

let received = 0;
let doubled = 0;
const seen = new Set();

showStateOf(stream);
showSharingOf(stream, $("#sharing"));
const resume = watchResume(stream, (seconds, events) => {
  const what = events === 1 ? "1 event" : `${events} events`;
  $("#resumed").textContent = `Resumed after ${seconds.toFixed(1)} s, ${what} caught up.`;
});

stream.on("*", (_, event) => {
  note(event);
  if (UNCOUNTED.has(event.type)) return;
  count(event);
  resume.arrived();
});
stream.on("reset", ({ reason }) => {
  // The missed events are gone, so the page's state may be wrong. All of it is the list of
  // people, which comes with the reset.
  const banner = $("#reset-banner");
  banner.textContent = `History was lost (${reason}) – state loaded again.`;
  banner.hidden = false;
  resume.forget();
});
stream.onState(showIds);
showIds();
showLobby(stream, {
  list: $("#people"),
  box: $("#text"),
  channel: $("#people").dataset.channel,
  url: $("#people").dataset.typing,
});

// Arriving events

function note(event) {
  const line = document.createElement("li");
  line.dataset.id = event.id;
  line.dataset.type = event.type;
  line.append(
    part("time", new Date().toLocaleTimeString([], { hour12: false })),
    part("type", event.type),
    part("id", event.id),
    // Not the text of the wire, which may escape everything but ASCII and is hard to read.
    part("data", JSON.stringify(event.data)),
  );
  const log = $("#log");
  log.prepend(line);
  while (log.children.length > MOST_LINES) log.lastElementChild.remove();
  showIds();
}

function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  // As text: other people typed the data, and it must not become part of the page.
  span.textContent = text;
  return span;
}

function count(event) {
  received += 1;
  if (seen.has(event.id)) doubled += 1;
  seen.add(event.id);
  if (seen.size > MOST_IDS) seen.delete(seen.values().next().value);
  $("#received").textContent = received;
  $("#doubled").textContent = doubled;
  $("#doubled").classList.toggle("bad-text", doubled > 0);
}

function showIds() {
  $("#client-id").textContent = stream.clientId ?? "–";
  $("#resume-id").textContent = stream.lastEventId || "–";
}

// The buttons

async function post(what, body) {
  const answer = await fetch(`${page.dataset.api}/${what}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.error);
  return result;
}

/** Run an action when its button is clicked, and show the result. */
function onClick(button, status, action) {
  button.addEventListener("click", async () => {
    try {
      status.textContent = await action();
      status.classList.remove("bad-text");
    } catch (error) {
      status.textContent = `Not done: ${error.message}`;
      status.classList.add("bad-text");
    }
  });
}

for (const button of document.querySelectorAll("[data-to]")) {
  onClick(button, $("#status"), async () => {
    const body = { to: button.dataset.to, text: $("#text").value, clientId: stream.clientId };
    if (body.to === "user") body.user = $("#user").value;
    return `Published as ${(await post("publish", body)).id}.`;
  });
}

async function cut() {
  $("#resumed").textContent = "";
  await post("cut", { clientId: stream.clientId });
  return "Cut.";
}

async function burst() {
  const { ids } = await post("burst", {});
  return `Published ${ids.length} events.`;
}

onClick($("#cut"), $("#cut-status"), cut);
onClick($("#burst"), $("#cut-status"), burst);
onClick($("#cut-burst"), $("#cut-status"), async () => `${await cut()} ${await burst()}`);

$("#clear").addEventListener("click", () => $("#log").replaceChildren());
