// The console: it asks the server every two seconds, and shows the answer. Each view has a
// function in VIEWS. All texts of others, such as names of users, go through textContent.

import { connect } from "../sse-hub.js";

const SECONDS = 2;
const POINTS = 150; // of each chart: five minutes of looks
const MOST_EVENTS = 200; // of the log's view
const TEST_SECONDS = 10;

const at = (id) => document.getElementById(id);

// Requests

const HEADERS = {
  Accept: "application/json",
  "Content-Type": "application/json",
  "X-SSE-Hub-Console": "1",
};

/** Ask for JSON. Throws an Error with the server's words. */
async function request(path, options = {}) {
  const url = new URL(path, import.meta.url);
  const response = await fetch(url, { ...options, headers: HEADERS });
  const answer = await response.json().catch(() => ({}));
  options.signal?.throwIfAborted();
  if (!response.ok) throw new Error(answer.error ?? `the server answered ${response.status}`);
  return answer;
}

const act = (path, body) => request(path, { method: "POST", body: JSON.stringify(body) });

// Figures as text

const number = (value, digits = 0) =>
  value.toLocaleString("en", { maximumFractionDigits: digits });

function duration(seconds) {
  if (seconds < 60) return `${number(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  return hours < 48 ? `${hours} h ${Math.floor((seconds % 3600) / 60)} min` : `${Math.floor(hours / 24)} d`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 2 ** 20 ? `${number(bytes / 1024, 1)} KiB` : `${number(bytes / 2 ** 20, 1)} MiB`;
}

// Tables

/**
 * Show one row for each item. The row of an item that stays is kept, and with it the focus.
 * `cells` returns the row's texts, `button` the element of a last cell.
 */
function fill(body, items, key, cells, button) {
  const heads = [...body.parentNode.querySelectorAll("thead th")];
  const rows = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const keys = new Set(items.map(key));
  // First, since a row that moves up loses the focus.
  for (const [name, row] of rows) if (!keys.has(name)) row.remove();
  items.forEach((item, place) => {
    const row = rows.get(key(item)) ?? document.createElement("tr");
    row.dataset.key = key(item);
    cells(item).forEach((text, column) => {
      const cell = row.cells[column] ?? row.insertCell();
      if (cell.textContent !== text) cell.textContent = text;
      cell.className = heads[column]?.className ?? "text";
      cell.dataset.name = heads[column]?.textContent ?? "";
    });
    if (button && !row.querySelector("button")) row.insertCell().append(button(item));
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
  });
}

/** Show pairs of a name and a text, or that there are none. */
function list(body, pairs) {
  const shown = pairs.length ? pairs : [["none", ""]];
  fill(body, shown, ([name]) => name, ([name, text]) => [name, String(text)]);
}

const byCount = (counts) => Object.entries(counts).sort((one, other) => other[1] - one[1]);

// Charts

const charts = [
  ["Open streams", ({ now }) => now.connections, 0],
  ["Events each second", ({ rate }) => rate("events_out"), 1],
  ["KiB each second", ({ rate }) => rate("bytes_out") / 1024, 1],
  ["Delivery in milliseconds", latency, 1],
].map(([title, valueOf, digits]) => {
  const figure = document.createElement("figure");
  figure.className = "card";
  figure.innerHTML = `<figcaption></figcaption><strong>–</strong>
    <svg viewBox="0 0 ${POINTS} 40" preserveAspectRatio="none" aria-hidden="true"><polyline/></svg>
    <p class="muted"></p>`;
  figure.firstChild.textContent = title;
  at("charts").append(figure);
  return { figure, valueOf, digits, values: [] };
});

function draw(chart, value) {
  const { figure, digits, values } = chart;
  if (value !== null) values.push(value);
  if (values.length > POINTS) values.shift();
  const most = Math.max(...values);
  // Of nearly nothing the line is flat, as its figures are 0.
  const scale = Math.max(most, 1);
  const x = (place) => (POINTS * place) / Math.max(1, values.length - 1);
  const y = (each) => 38 - (36 * each) / scale;
  const points = values.map((each, place) => `${x(place)},${y(each)}`);
  figure.querySelector("polyline").setAttribute("points", points.join(" "));
  figure.querySelector("strong").textContent = value === null ? "–" : number(value, digits);
  figure.querySelector("p").textContent = values.length ? `highest ${number(most, digits)}` : "none yet";
}

/** The mean of the deliveries since the last look, null if there were none. */
function latency({ now, before }) {
  const count = now.delivery_latency.count - before.delivery_latency.count;
  const seconds = now.delivery_latency.seconds - before.delivery_latency.seconds;
  return count > 0 && seconds >= 0 ? (1000 * seconds) / count : null;
}

// The overview

let before = null;

function rates(now, moment) {
  const earlier = new Map(before?.workers.map((worker) => [worker.pid, worker]));
  const seconds = (moment - before?.moment) / 1000;
  // A worker that is new has no rate yet: its counts are of its whole life.
  const of = (worker, name) =>
    earlier.has(worker.pid) ? (worker[name] - earlier.get(worker.pid)[name]) / seconds : 0;
  const all = (name) => now.workers.reduce((sum, each) => sum + of(each, name), 0);
  return { of, all };
}

async function overview(signal) {
  const now = await request("figures", { signal });
  const moment = performance.now();
  const { of, all } = rates(now, moment);
  if (before)
    for (const chart of charts) draw(chart, chart.valueOf({ now, before, rate: all }));
  fill(at("workers"), now.workers, (each) => String(each.pid), (each) => [
    String(each.worker),
    String(each.pid),
    number(each.connections),
    number(each.users),
    number(each.lagging),
    number(of(each, "events_out"), 1),
    number(of(each, "bytes_out") / 1024, 1),
    `${number(100 * of(each, "cpu_seconds"))} %`,
    each.resident_bytes === null ? "–" : size(each.resident_bytes),
    each.broker_up ? `${number(1000 * each.round_trip, 1)} ms` : "away",
    stateOf(each),
  ]);
  const { health } = now;
  at("health-reason").textContent = [health.reason, ...(health.warnings ?? [])].join(" ");
  at("health-reason").hidden = !health.reason && !health.warnings;
  list(at("health"), health.checks.map((check) => [check.name, check.passed ? "passed" : "failed"]));
  list(at("delivery"), [
    ...byCount(now.delivery),
    ["users", number(now.users)],
    ["lagging", number(now.lagging)],
    ["in history", `${number(now.history_events)} events, ${size(now.history_bytes)}`],
    ["position", now.position],
  ]);
  list(at("closed"), byCount(now.closed));
  list(at("troubles"), [
    ...byCount(now.refusals).map(([reason, count]) => [`refused: ${reason}`, count]),
    ...byCount(now.resets).map(([reason, count]) => [`reset: ${reason}`, count]),
    ...byCount(now.broker_errors).map(([call, count]) => [`broker failed: ${call}`, count]),
    ...(now.malformed ? [["malformed entries", now.malformed]] : []),
    ...(now.lost_after_commit ? [["lost after a commit", now.lost_after_commit]] : []),
    ...(now.outbox ? [["waiting in the outbox", now.outbox.waiting]] : []),
    ...(now.hooks ? [["hooks that wait", now.hooks.waiting]] : []),
  ]);
  const more = now.more_channels ? [[`and ${number(now.more_channels)} more`, ""]] : [];
  list(at("channels"), [...now.channels, ...more]);
  before = { ...now, moment };
  return now;
}

function stateOf(worker) {
  if (!worker.broker_up) return "broker away";
  if (worker.deaf_seconds) return `deaf for ${duration(worker.deaf_seconds)}`;
  return worker.draining ? "going away" : "ready";
}

// The streams

let page = 0;

async function streams(signal) {
  const { text, order } = at("streams-form").elements;
  const query = new URLSearchParams({ text: text.value, order: order.value, page });
  const found = await request(`streams?${query}`, { signal });
  page = Math.min(page, Math.max(0, found.pages - 1));
  at("streams-count").textContent =
    `${number(found.count)} ${found.count === 1 ? "stream" : "streams"}, page ${page + 1} of ${Math.max(1, found.pages)}`;
  at("previous").disabled = page === 0;
  at("next").disabled = page + 1 >= found.pages;
  fill(
    at("streams-rows"),
    found.streams,
    (each) => each.id,
    (each) => [
      each.user_id ?? "–",
      each.channels.join(" ") || "–",
      String(each.worker),
      duration(each.age),
      each.lag ? `${number(each.lag, 1)} s` : "–",
      each.delivery,
      number(each.events),
      size(each.bytes),
      Object.entries(each.metadata).map((pair) => pair.join("=")).join(" ") || "–",
      each.id,
    ],
    closeButton,
  );
}

function closeButton({ id, user_id: user }) {
  const whose = user === null ? `client ${id}` : `user ${user}`;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Close";
  button.setAttribute("aria-label", `Close the stream of ${whose}`);
  button.addEventListener("click", async () => {
    if (!confirm(`Close this stream of ${whose}? The page may connect again.`)) return;
    try {
      await act("close", { client: id });
      at("action").textContent = `The stream of ${whose} is being closed.`;
    } catch (error) {
      at("action").textContent = `The stream was not closed: ${error.message}`;
    }
    turn();
  });
  return button;
}

function turnPage(step) {
  page += step;
  turn();
}

// The log

let cursor = null;
let events = [];

async function log(signal) {
  const { target, type, follow } = at("log-form").elements;
  if (!follow.checked) return;
  const query = new URLSearchParams({ target: target.value, type: type.value });
  if (cursor) query.set("after", cursor);
  const found = await request(`log?${query}`, { signal });
  cursor = found.cursor;
  events = [...found.events, ...events].slice(0, MOST_EVENTS);
  at("log-note").textContent = [
    found.skipped ? "Some events before the newest ones are not shown." : "",
    found.payloads ? "" : "Data is shown with SSE_HUB_CONSOLE_PAYLOADS = True.",
    events.length ? "" : "No event yet.",
  ].join(" ");
  fill(at("log-rows"), events, (each) => each.id, (each) => [
    new Date(1000 * each.time).toLocaleTimeString(),
    each.type,
    each.targets.join(" ") + (each.more_targets ? ` and ${number(each.more_targets)} more` : ""),
    number(each.bytes),
    each.data ?? "–",
    each.id,
  ]);
}

function searchLog() {
  cursor = null;
  events = [];
  turn();
}

// The people in channels with presence, and the answers, as the log has them

async function people(signal) {
  const found = await request("people", { signal });
  at("people-note").textContent = [
    found.stale ? "The log cannot be read: this may be out of date." : "",
    noteOf(found.channels, found.more_channels, "channel with presence has people in it"),
  ].join(" ");
  fill(at("people-rows"), found.channels, (each) => each.channel, (each) => [
    each.channel,
    number(each.people),
    each.users.join(" ") + (each.people > each.users.length ? " and more" : ""),
  ]);
  at("answers-note").textContent = noteOf(found.answers, found.more_answers, "answer can be read");
  fill(at("answers-rows"), found.answers, (each) => each.id, (each) => [
    each.user ?? "–",
    each.reason === null || each.reason === each.state ? each.state : `${each.state} (${each.reason})`,
    `${duration(each.age)} ago`,
    size(each.size),
    each.has_readers ? "yes" : "none",
    each.progress === null ? "–" : `${each.progress.text} ${number(each.progress.done, 1)} of ${number(each.progress.total, 1)}`,
    each.id,
  ]);
}

function noteOf(shown, more, what) {
  if (!shown.length) return `No ${what}.`;
  return more ? `${number(more)} more are not shown.` : "";
}

// A test event: through the log and the hub, to this page

async function test() {
  at("test").disabled = true;
  at("test-result").textContent = "Opening a stream";
  const said = await new Promise((resolve) => tryOut(resolve).catch((error) => resolve(error.message)));
  at("test-result").textContent = said;
  at("test").disabled = false;
}

async function tryOut(resolve) {
  const { url, ticket } = await act("test", {});
  let sent = null;
  const stream = connect(url, {
    on: {
      "console-test": () =>
        end(`The event arrived after ${number(performance.now() - sent, 1)} ms.`),
    },
    onState: ({ state, error }) => {
      if (state === "closed" && error) end(`The stream was refused: ${error.message}`);
      if (state !== "open" || sent !== null) return;
      sent = performance.now();
      act("publish", { ticket }).catch((failure) => end(failure.message));
    },
  });
  const timer = setTimeout(() => end(`No event arrived within ${TEST_SECONDS} s.`), 1000 * TEST_SECONDS);
  function end(text) {
    clearTimeout(timer);
    stream.close();
    resolve(text);
  }
}

// Turns: a look at the figures and at the view that is shown, every two seconds, as long as
// the page is visible

const VIEWS = { overview, streams, log, people };
let looking = new AbortController();
let timer;

async function turn() {
  clearTimeout(timer);
  looking.abort();
  if (document.hidden) return;
  const { signal } = (looking = new AbortController());
  try {
    const view = VIEWS[shownView()];
    // The charts go on whatever view is shown. While somebody types, they wait.
    const isFresh = before && performance.now() - before.moment < 1000 * (SECONDS / 2);
    const [{ silent }] = await Promise.all([
      isFresh ? before : overview(signal),
      view !== overview && view(signal),
    ]);
    if (silent.length) say("warn", `No answer from worker ${silent.join(", ")}`);
    else say("good", "Live");
  } catch (error) {
    if (signal.aborted) return;
    say("bad", `Not live: ${error.message}`);
  }
  timer = setTimeout(turn, 1000 * SECONDS);
}

/** Change the text only if it is another one: screen readers read each change. */
function say(state, text) {
  at("state").dataset.state = state;
  if (at("state").textContent !== text) at("state").textContent = text;
}

function shownView() {
  const name = location.hash.slice(1);
  return Object.hasOwn(VIEWS, name) ? name : "overview";
}

function show() {
  for (const name of Object.keys(VIEWS)) {
    at(name).hidden = name !== shownView();
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === shownView()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  turn();
}

addEventListener("hashchange", show);
document.addEventListener("visibilitychange", turn);
at("streams-form").addEventListener("input", () => turnPage(-page));
at("log-form").addEventListener("input", searchLog);
for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
at("previous").addEventListener("click", () => turnPage(-1));
at("next").addEventListener("click", () => turnPage(1));
at("test").addEventListener("click", test);
show();
