// The demo page: one EventSource, and all that arrives on it.

import { showStateOf } from "./state.js";
import { toastEvent } from "./toast.js";

// An EventSource has no way to listen to "everything": each type needs its listener.
const OWN_TYPES = ["connected", "ping", "reset"];
const APP_TYPES = ["message", "notification", "lobby"];

// Whatever grows with each event has an end, or a tab that stays open eats the memory.
const MOST_LINES = 200;
const MOST_IDS = 5000;

const $ = (selector) => document.querySelector(selector);
const page = $("#demo");

let source;
let lastId = "";
let clientId = $("#client-id").textContent;
let received = 0;
let doubled = 0;
const seen = new Set();

function open() {
  const url = new URL(page.dataset.stream, location.href);
  // A browser that reconnects sends the last id by itself. A new EventSource knows none,
  // and cannot set headers, so here the id goes into the address.
  if (lastId) url.searchParams.set("last_event_id", lastId);
  source = new EventSource(url);
  showStateOf(source);
  source.addEventListener("error", () => {
    $("#reconnect").hidden = source.readyState !== EventSource.CLOSED;
  });
  for (const type of [...OWN_TYPES, ...APP_TYPES]) source.addEventListener(type, note);
  for (const type of APP_TYPES) source.addEventListener(type, count);
  source.addEventListener("connected", connected);
  source.addEventListener("reset", reset);
  source.addEventListener("notification", toastEvent);
  source.addEventListener("presence", (event) => {
    resumeFrom(event);
    showPeople(JSON.parse(event.data).people);
  });
}

// What arrives

function note(event) {
  resumeFrom(event);
  const line = document.createElement("li");
  line.dataset.id = event.lastEventId;
  line.dataset.type = event.type;
  line.append(
    part("time", new Date().toLocaleTimeString([], { hour12: false })),
    part("type", event.type),
    part("id", event.lastEventId),
    part("data", event.data),
  );
  const log = $("#log");
  log.prepend(line);
  while (log.children.length > MOST_LINES) log.lastElementChild.remove();
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
  if (seen.has(event.lastEventId)) doubled += 1;
  seen.add(event.lastEventId);
  if (seen.size > MOST_IDS) seen.delete(seen.values().next().value);
  $("#received").textContent = received;
  $("#doubled").textContent = doubled;
  $("#doubled").classList.toggle("bad-text", doubled > 0);
}

function resumeFrom(event) {
  lastId = event.lastEventId;
  $("#resume-id").textContent = lastId;
}

function connected(event) {
  const greeting = JSON.parse(event.data);
  // The id of the page, unless it was too old: then the server gave a new one.
  clientId = greeting.client_id;
  $("#client-id").textContent = clientId;
  // A stream that resumes has missed nothing, so what is shown still holds.
  if (!greeting.resumed) loadState();
}

function reset(event) {
  // What was missed is not known any more. Nothing that the page shows can be trusted,
  // so it asks for all of it again, as it would after being loaded.
  const { reason } = JSON.parse(event.data);
  const banner = $("#reset-banner");
  banner.textContent = `History was lost (${reason}) – state loaded anew.`;
  banner.hidden = false;
  loadState();
}

async function loadState() {
  const answer = await fetch(`${page.dataset.api}/state`);
  if (answer.ok) showPeople((await answer.json()).people);
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
function onClick(button, action) {
  button.addEventListener("click", async () => {
    const status = $("#status");
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
  onClick(button, async () => {
    const body = { to: button.dataset.to, text: $("#text").value, clientId };
    if (body.to === "user") body.user = $("#user").value;
    return `Published as ${(await post("publish", body)).id}.`;
  });
}

async function cut() {
  await post("cut", { clientId });
  return "Cut. The browser comes back by itself.";
}

async function burst() {
  const { ids } = await post("burst", {});
  return `Published ${ids.length} events.`;
}

onClick($("#cut"), cut);
onClick($("#burst"), burst);
onClick($("#cut-burst"), async () => `${await cut()} ${await burst()}`);

$("#clear").addEventListener("click", () => $("#log").replaceChildren());
$("#reconnect").addEventListener("click", () => {
  $("#reconnect").hidden = true;
  open();
});

open();
