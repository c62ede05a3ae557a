// The demo page: the stream that every page has, seen from the inside.

import { stream } from "./page.js";
import { watchResume } from "./resume.js";
import { showSharingOf } from "./sharing.js";
import { showStateOf } from "./state.js";

// Shown, but not counted: what the hub sends on its own account, and what each stream that
// comes or goes brings about.
const UNCOUNTED = new Set(["connected", "ping", "reset", "presence"]);

// Whatever grows with each event has an end, or a tab that stays open eats the memory.
const MOST_LINES = 200;
const MOST_IDS = 5000;

const $ = (selector) => document.querySelector(selector);
const page = $("#demo");

let received = 0;
let doubled = 0;
let presences = 0;
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
stream.on("presence", ({ people }) => {
  presences += 1;
  showPeople(people);
});
stream.on("reset", ({ reason }) => {
  // What was missed is not known any more. Nothing that the page shows can be trusted,
  // so it asks for all of it again, as it would after being loaded.
  const banner = $("#reset-banner");
  banner.textContent = `History was lost (${reason}) – state loaded anew.`;
  banner.hidden = false;
  resume.forget();
  loadState();
});
stream.onState(showIds);
showIds();
loadState();

// What arrives

function note(event) {
  const line = document.createElement("li");
  line.dataset.id = event.id;
  line.dataset.type = event.type;
  line.append(
    part("time", new Date().toLocaleTimeString([], { hour12: false })),
    part("type", event.type),
    part("id", event.id),
    // Not its text: on the wire all but ASCII may be escaped, and is not to be read.
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
  // As text: data is what somebody typed, and must not become a part of the page.
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

async function loadState() {
  const before = presences;
  const answer = await fetch(`${page.dataset.api}/state`);
  // A list that came by the stream in the meantime is newer than this one.
  if (answer.ok && presences === before) showPeople((await answer.json()).people);
}

function showPeople(people) {
  $("#people").replaceChildren(
    ...people.map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    }),
  );
}

// What the buttons do

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

/** Run what a button does, and say how it went. */
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
