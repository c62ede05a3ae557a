import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, readEvents, resume, showProgress } from "../src/answer.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server, block } from "./parts/server.js";

const readUrl = (id) => `/answers/${id}`;
const stopUrl = (id) => `/answers/${id}/stop`;
const KEY = "sse-hub-answer:chat";

/** A tab's storage. */
class Stored {
  constructor() {
    this.items = {};
    globalThis.sessionStorage = this;
  }
  getItem(name) {
    return this.items[name] ?? null;
  }
  setItem(name, value) {
    this.items[name] = value;
  }
  removeItem(name) {
    delete this.items[name];
  }
}

/** A page with a server and a storage, and the callbacks of its answers. */
function made() {
  const heard = { texts: [], parts: [], progress: [], ends: [] };
  const options = {
    readUrl,
    stopUrl,
    onText: (text) => heard.texts.push(text),
    onPart: (text, { snapshot }) => heard.parts.push([text, snapshot]),
    onProgress: (progress) => heard.progress.push(progress),
    onEnd: (end) => heard.ends.push(end),
  };
  const clock = new Clock();
  return {
    clock,
    page: new Page(),
    server: new Server(),
    stored: new Stored(),
    options,
    ...heard,
  };
}

/** The first event of a reader that begins at a position. */
const begun = (position = 0, { run = "r1", id = "a1" } = {}) =>
  block({ id }, { type: "answer", id: `${run}:${position}` });
const part = (text, position, run = "r1") => block(text, { id: `${run}:${position}` });
const end = (type = "done", more = {}) =>
  block({ id: "end-1", ...more }, { type, id: "end-1" });

/** Ask for an answer by POST. */
async function asked(site, more = {}) {
  const reply = answer("/ask", { ...site.options, body: "tea?", ...more });
  await settle();
  return reply;
}

test("the text grows to its end", async () => {
  const site = made();
  const reply = await asked(site, { headers: { "X-CSRF": "1" } });
  const { request } = site.server;
  assert.deepEqual(
    [request.url.pathname, request.init.method, request.init.body],
    ["/ask", "POST", "tea?"],
  );
  assert.equal(request.headers.get("X-CSRF"), "1");
  assert.equal(reply.id, null);
  await request.open(begun() + part("42", 2));
  assert.equal(reply.id, "a1");
  await request.send(part(" is good", 10) + end());
  assert.deepEqual(site.texts, ["42", "42 is good"]);
  assert.deepEqual(site.parts, [
    ["42", false],
    [" is good", false],
  ]);
  assert.deepEqual(site.ends, [
    { state: "done", reason: null, message: null, errorId: null, error: null },
  ]);
  assert.deepEqual([reply.state, reply.text], ["done", "42 is good"]);
  assert.deepEqual([site.page.listeners, site.clock.pending], [0, 0]);
});

test("after a cut it reads on from its own URL", async () => {
  const site = made();
  const reply = await asked(site);
  await site.server.request.open(begun() + part("tea ", 4));
  await site.server.request.fail();
  await site.clock.advance(10);
  const { request } = site.server;
  assert.deepEqual(
    [request.url.pathname, request.init.method, request.init.body],
    ["/answers/a1", "GET", undefined],
  );
  assert.equal(request.headers.get("Last-Event-ID"), "r1:4");
  await request.open(begun(4) + part("is", 6) + end());
  assert.deepEqual(site.texts, ["tea ", "tea is"]);
  assert.deepEqual(site.parts.at(-1), ["is", false]);
  assert.equal(reply.state, "done");
});

test("a server that does not know the position sends the text anew", async () => {
  const site = made();
  await asked(site);
  await site.server.request.open(begun() + part("tea ", 4));
  await site.server.request.end();
  await site.clock.advance(10);
  await site.server.request.open(begun(0, { run: "r2" }) + part("new", 3, "r2"));
  assert.deepEqual(site.texts, ["tea ", "", "new"]);
  assert.deepEqual(site.parts.at(-1), ["new", true]);
});

test("a page that is loaded again goes on", async () => {
  const site = made();
  const first = await asked(site, { key: "chat" });
  await site.server.request.open(begun() + part("tea ", 4));
  first.close();
  assert.ok(site.server.request.signal.aborted);
  assert.equal(site.ends.length, 0);
  const again = resume({ ...site.options, key: "chat", body: "not sent" });
  await settle();
  const { request } = site.server;
  assert.deepEqual(
    [request.url.pathname, request.init.method, request.headers.get("Last-Event-ID")],
    ["/answers/a1", "GET", null],
  );
  await request.open(begun() + part("tea is", 6));
  assert.deepEqual(site.parts.at(-1), ["tea is", true]);
  await request.send(part(" good", 11) + end());
  assert.equal(site.texts.at(-1), "tea is good");
  assert.equal(again.state, "done");
  assert.equal(resume({ ...site.options, key: "chat" }), null);
});

test("an answer is remembered until it ends or another one begins", async () => {
  const site = made();
  await asked(site, { key: "chat" });
  await site.server.request.open(begun());
  const old = site.server.request;
  assert.equal(site.stored.items[KEY], "a1");
  await asked(site, { key: "chat" });
  assert.deepEqual(site.stored.items, {});
  await site.server.request.open(begun(0, { id: "a2" }));
  await old.send(end());
  assert.equal(site.stored.items[KEY], "a2");
});

test("it works where nothing can be stored", async () => {
  const site = made();
  delete globalThis.sessionStorage;
  await asked(site, { key: "chat" });
  await site.server.request.open(begun() + part("tea", 3) + end());
  assert.equal(site.ends[0].state, "done");
  assert.equal(resume({ ...site.options, key: "chat" }), null);
});

test("after a login the same user can read on", async () => {
  const site = made();
  site.stored.items[KEY] = "a1";
  for (const [status, kept] of [
    [401, "a1"],
    [404, undefined],
  ]) {
    resume({ ...site.options, key: "chat" });
    await settle();
    await site.server.request.respond(status);
    assert.deepEqual([site.ends.at(-1).state, site.stored.items[KEY]], ["lost", kept]);
  }
});

for (const [how, break_off, expected] of [
  ["that is refused", (request) => request.respond(429), ["failed", "busy"]],
  ["that fails", (request) => request.fail(), ["lost", "network"]],
  ["whose stream is cut at once", (request) => request.open(), ["lost", "network"]],
]) {
  test(`a POST ${how} is not repeated`, async () => {
    const site = made();
    const reply = await asked(site);
    site.page.tell("beforeunload");
    await break_off(site.server.request);
    if (!site.ends.length) await site.server.request.fail();
    site.page.tell("online");
    await site.clock.advance(100);
    assert.equal(site.server.requests.length, 1);
    const [{ state, reason, error }] = site.ends;
    assert.deepEqual([state, reason], expected);
    assert.equal(error.reason, reason);
    await reply.stop();
    assert.equal(site.server.requests.length, 1);
  });
}

test("a GET is repeated until the answer is there", async () => {
  const site = made();
  answer("/answers/a1", { onText: site.options.onText });
  await settle();
  await site.server.request.respond(503);
  await site.clock.advance(10);
  await site.server.request.open(begun() + part("tea", 3));
  await site.server.request.end();
  await site.clock.advance(10);
  assert.equal(site.server.request.url.pathname, "/answers/a1");
  assert.equal(site.server.request.headers.get("Last-Event-ID"), "r1:3");
});

test("a stream without an id is shown, and is lost by a cut", async () => {
  const site = made();
  answer("/events-of-one-request", {
    onText: site.options.onText,
    onEnd: site.options.onEnd,
  });
  await settle();
  await site.server.request.open(block("a") + block("b"));
  await site.server.request.fail();
  await site.clock.advance(100);
  assert.deepEqual(site.texts, ["a", "ab"]);
  assert.equal(site.ends[0].state, "lost");
  assert.equal(site.server.requests.length, 1);
});

for (const [type, more, expected] of [
  ["done", { reason: "stopped" }, ["stopped", "stopped"]],
  ["done", { reason: "abandoned" }, ["stopped", "abandoned"]],
  ["error", { message: "it failed" }, ["failed", null]],
  ["error", { message: "too long", reason: "timeout" }, ["failed", "timeout"]],
  ["error", { message: "gone", reason: "lost" }, ["lost", "lost"]],
  ["error", { message: "gone", reason: "shutdown" }, ["lost", "shutdown"]],
]) {
  test(`the end ${type} with ${more.reason ?? "no reason"} is ${expected[0]}`, async () => {
    const site = made();
    await asked(site);
    await site.server.request.open(begun() + end(type, more));
    const [{ state, reason, message, errorId }] = site.ends;
    assert.deepEqual([state, reason], expected);
    assert.equal(message, more.message ?? null);
    assert.equal(errorId, type === "error" ? "end-1" : null);
  });
}

test("events of the app are parts, and no text", async () => {
  const site = made();
  const parts = [];
  await asked(site, { onPart: (text, part) => parts.push([text, part.type, part.data]) });
  const events =
    block({ name: "search" }, { type: "tool", id: "r1:1" }) +
    block("not the end", { type: "error", id: "r1:2" }) +
    block({ id: "other" }, { type: "answer", id: "r1:3" });
  await site.server.request.open(begun() + events);
  assert.deepEqual(parts, [
    ['{"name":"search"}', "tool", { name: "search" }],
    ["not the end", "error", "not the end"],
    ['{"id":"other"}', "answer", { id: "other" }],
  ]);
  assert.deepEqual([site.texts, site.ends], [[], []]);
});

test("progress is shown in an element", async () => {
  const site = made();
  const element = {
    set: {},
    setAttribute: (name, value) => (element.set[name] = value),
    removeAttribute: (name) => delete element[name],
  };
  const reply = await asked(site, { onProgress: showProgress(element) });
  const told = { done: 4, total: 10, text: "row 4" };
  await site.server.request.open(begun() + block(told, { type: "progress", id: "r1:0" }));
  assert.deepEqual(reply.progress, told);
  assert.deepEqual([element.value, element.max, element.title], [4, 10, "row 4"]);
  assert.deepEqual(element.set, { "aria-valuetext": "row 4" });
  const nothing = { done: 0, total: 0, text: "" };
  await site.server.request.send(block(nothing, { type: "progress", id: "r1:0" }));
  assert.ok(!("value" in element));
});

test("stop waits for the id, and leaving is no stop", async () => {
  const site = made();
  const reply = await asked(site, { headers: { "X-CSRF": "1" } });
  const stopped = reply.stop();
  await settle();
  assert.equal(site.server.requests.length, 1);
  const [stream] = site.server.requests;
  await stream.open(begun());
  const { request } = site.server;
  assert.deepEqual(
    [request.url.pathname, request.init.method, request.headers.get("X-CSRF")],
    ["/answers/a1/stop", "POST", "1"],
  );
  await request.respond(204);
  await stopped;
  assert.equal(reply.state, "running");
  await stream.send(end("done", { reason: "stopped" }));
  assert.equal(reply.state, "stopped");
  const left = await asked(site);
  left.close();
  await left.stop();
  assert.equal(site.server.requests.length, 3);
});

test("a stop that is refused is an error", async () => {
  const site = made();
  const reply = await asked(site);
  await site.server.request.open(begun());
  const refused = assert.rejects(reply.stop(), { reason: "forbidden" });
  await settle();
  await site.server.request.respond(403);
  await refused;
});

test("a signal closes it, and a handler's error stops nothing", async () => {
  const site = made();
  const controller = new AbortController();
  const { signal } = controller;
  const onPart = () => {
    throw new Error("of the page");
  };
  await asked(site, { signal, onPart });
  await site.server.request.open(begun() + part("tea", 3));
  assert.deepEqual([site.texts, site.page.errors.length], [["tea"], 1]);
  controller.abort();
  await settle();
  assert.ok(site.server.request.signal.aborted);
  assert.deepEqual([site.page.listeners, site.ends], [0, []]);
  await asked(site, { signal });
  assert.equal(site.server.requests.length, 1);
});

test("a page from the back-forward cache goes on", async () => {
  const site = made();
  await asked(site);
  await site.server.request.open(begun() + part("tea", 3));
  site.page.tell("pagehide");
  assert.ok(site.server.request.signal.aborted);
  site.page.tell("pageshow", { persisted: true });
  await settle();
  assert.equal(site.server.request.headers.get("Last-Event-ID"), "r1:3");
});

test("a question whose page was left before its answer is not asked again", async () => {
  const site = made();
  await asked(site);
  site.page.tell("pagehide");
  site.page.tell("pageshow", { persisted: true });
  await settle();
  assert.deepEqual([site.server.requests.length, site.ends[0].state], [1, "lost"]);
});

test("a silent connection is replaced", async () => {
  const site = made();
  await asked(site);
  await site.server.request.open(begun() + part("tea", 3));
  await site.clock.advance(60);
  assert.equal(site.server.requests.length, 2);
});

test("mistakes are refused before any request", async () => {
  const { options, server } = made();
  for (const wrong of [
    { ...options, onDone: () => {} },
    { ...options, onText: "show" },
    { ...options, body: { question: "tea" } },
    { ...options, method: "GET", body: "tea" },
    { ...options, key: 1 },
    { key: "chat" },
  ])
    assert.throws(() => answer("/ask", wrong), TypeError);
  assert.throws(() => resume({ readUrl }), TypeError);
  await assert.rejects(answer("/ask").stop(), /stopUrl/);
  await settle();
  assert.equal(server.requests.length, 1);
});

test("a readUrl that fails is reported, and the POST is not repeated", async () => {
  const site = made();
  const readUrl = () => {
    throw new Error("of the page");
  };
  await asked(site, { readUrl });
  await site.server.request.open(begun() + part("tea", 3));
  await site.server.request.fail();
  await site.clock.advance(100);
  assert.equal(site.page.errors.length, 1);
  assert.deepEqual([site.server.requests.length, site.ends[0].state], [1, "lost"]);
});

const response = (text, headers = { "Content-Type": "text/event-stream" }) =>
  new Response(text, { headers });

test("the events of a response can be iterated", async () => {
  const events = [];
  for await (const event of readEvents(response('id: 1\ndata: {"a": 1}\n\ndata: b\n\n')))
    events.push([event.type, event.data, event.text, event.id]);
  assert.deepEqual(events, [
    ["message", { a: 1 }, '{"a": 1}', "1"],
    ["message", "b", "b", "1"],
  ]);
});

test("a loop over the events that is left cancels the response", async () => {
  let isCancelled = false;
  const body = new ReadableStream({
    start: (body) => body.enqueue(new TextEncoder().encode("data: a\n\ndata: b\n\n")),
    cancel: () => (isCancelled = true),
  });
  for await (const { data } of readEvents(response(body))) {
    assert.equal(data, "a");
    break;
  }
  assert.ok(isCancelled);
});

test("a response that is no stream has no events", async () => {
  const events = readEvents(response("sign in", { "Content-Type": "text/plain" }));
  await assert.rejects(events.next(), { reason: "not-a-stream" });
});
