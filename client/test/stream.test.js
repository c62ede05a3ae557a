import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { connect } from "../src/index.js";
// A stream loads it when it is shared. That takes real time the first time.
import "../src/shared.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server, block, connected } from "./parts/server.js";

/** Open a stream that has received its greeting. */
async function opened(t, options = {}) {
  const parts = await asked(t, options);
  await parts.server.request.open(connected("e-1", { user_id: "alice" }));
  return parts;
}

/** Open a stream whose request has no answer yet. */
async function asked(t, options = {}) {
  const clock = new Clock();
  const page = new Page();
  const server = new Server();
  const stream = connect("/events", options);
  t.after(() => stream.close());
  await settle();
  return { clock, page, server, stream };
}

// Handlers

test("handlers get the events of their type, and those of * all of them", async (t) => {
  const heard = [];
  const { server, stream } = await opened(t, {
    on: { story: (data) => heard.push(["story", data]) },
  });
  stream.on("*", (data, { type }) => heard.push(["*", type]));
  await server.request.send(block("a", { type: "story" }) + block("b", { type: "other" }));
  assert.deepEqual(heard, [
    ["story", "a"],
    ["*", "story"],
    ["*", "other"],
  ]);
});

test("what the hub says of itself reaches handlers too", async (t) => {
  const heard = [];
  const { server } = await opened(t, {
    on: {
      connected: ({ client_id }) => heard.push(client_id),
      ping: () => heard.push("ping"),
    },
    onReset: ({ reason }) => heard.push(reason),
  });
  await server.request.send(
    block({ ts: 1 }, { type: "ping" }) + block({ reason: "expired" }, { type: "reset" }),
  );
  assert.deepEqual(heard, ["c1", "ping", "expired"]);
});

test("a handler that is removed hears no more", async (t) => {
  const heard = [];
  const { server, stream } = await opened(t);
  const remove = stream.on("message", (data) => heard.push(data));
  await server.request.send(block("a"));
  remove();
  await server.request.send(block("b"));
  assert.deepEqual(heard, ["a"]);
});

test("a handler that throws stops neither others nor the stream", async (t) => {
  const heard = [];
  const { server, stream, page } = await opened(t);
  stream.on("message", () => {
    throw new Error("mine");
  });
  stream.on("message", (data) => heard.push(data));
  stream.onState(() => {
    throw new Error("mine too");
  });
  await server.request.send(block("a") + block("b"));
  await server.request.end();
  assert.deepEqual(heard, ["a", "b"]);
  assert.deepEqual(
    page.errors.map(({ message }) => message),
    ["mine", "mine", "mine too"],
  );
  assert.equal(stream.state, "reconnecting");
});

test("a stream that a handler closes delivers nothing more", async (t) => {
  const heard = [];
  const { server, stream, page, clock } = await opened(t);
  stream.on("message", (data) => {
    heard.push(data);
    stream.close();
  });
  await server.request.send(block("a") + block("b"));
  assert.deepEqual(heard, ["a"]);
  assert.deepEqual([stream.state, stream.error], ["closed", null]);
  assert.deepEqual([page.listeners, clock.pending], [0, 0]);
});

test("an event has the channel to which alone it was published", async (t) => {
  const heard = [];
  const { server } = await opened(t, {
    on: { message: (_, { channel }) => heard.push(channel) },
  });
  await server.request.send(`channel: news\n${block("a")}${block("b")}`);
  assert.deepEqual(heard, ["news", undefined]);
});

// Channels

test("other channels are asked for in one request, and the stream resumes with them", async (t) => {
  const { server, stream } = await opened(t, {
    headers: { Authorization: "Bearer t" },
    credentials: "include",
  });
  const [{ signal }] = server.requests;
  const asked = stream.subscribe("a", "b");
  await settle();
  const { url, init, headers } = server.request;
  assert.equal(url.href, "https://example.org/events/subscriptions");
  assert.deepEqual([init.method, init.credentials], ["POST", "include"]);
  assert.equal(headers.get("Content-Type"), "application/json");
  assert.equal(headers.get("Authorization"), "Bearer t");
  assert.deepEqual(JSON.parse(init.body), { client_id: "c1", subscribe: ["a", "b"] });
  await server.request.respond(202);
  await asked;
  const told = { channels: ["a", "b"] };
  await server.requests[0].send(block(told, { type: "subscribed", id: "e-5" }));
  assert.equal(stream.lastEventId, "e-5");
  assert.equal(stream.lastEvent, null);
  assert.equal(signal.aborted, false);
  stream.reconnect();
  await settle();
  assert.equal(server.request.url.search, "?channel=a&channel=b&client_id=c1");
  assert.equal(server.request.headers.get("Last-Event-ID"), "e-5");
});

test("a channel may begin after an id, and the cursor does not go back for it", async (t) => {
  const heard = [];
  const { server, stream } = await opened(t, {
    on: {
      message: (data, { id, earlier, state }) => heard.push([data, id, earlier, state]),
    },
  });
  stream.subscribe("a", { since: "e-0" });
  stream.subscribe("b", { since: undefined });
  await settle();
  assert.deepEqual(
    server.requests.slice(1).map(({ init }) => JSON.parse(init.body)),
    [
      { client_id: "c1", subscribe: ["a"], since: "e-0" },
      { client_id: "c1", subscribe: ["b"] },
    ],
  );
  await server.requests[0].send(`earlier: e-1\n${block("a")}`);
  assert.deepEqual(heard, [["a", stream.lastEventId, "e-1", false]]);
});

test("channels are left in the same way", async (t) => {
  const heard = [];
  const { server, stream } = await opened(t, {
    on: { subscribed: ({ channels, refused }) => heard.push([channels, refused]) },
  });
  const asked = stream.unsubscribe("a");
  await settle();
  assert.deepEqual(JSON.parse(server.request.init.body), {
    client_id: "c1",
    unsubscribe: ["a"],
  });
  await server.request.respond(202);
  await asked;
  const told = { channels: ["b"], refused: ["a"] };
  await server.requests[0].send(block(told, { type: "subscribed", id: "e-5" }));
  assert.deepEqual(heard, [[["b"], ["a"]]]);
});

test("a refusal of channels is an error of the call, and the stream goes on", async (t) => {
  const { server, stream } = await opened(t);
  const refused = assert.rejects(stream.subscribe("secret"), {
    reason: "forbidden",
    message: "the server answered 403: not open to you",
  });
  await settle();
  const why = JSON.stringify({ error: "not open to you" });
  const headers = { "Content-Type": "application/json" };
  await server.request.answer(new Response(why, { status: 403, headers }));
  await refused;
  assert.equal(stream.state, "open");
});

// Data

for (const [text, data] of [
  ["text", "text"],
  ["null", null],
  ["42", 42],
  ["false", false],
  ['"a"', "a"],
  ['{"a": [1]}', { a: [1] }],
  ["", ""],
  ["{", "{"],
]) {
  test(`the data of ${JSON.stringify(text)} is ${JSON.stringify(data)}`, async (t) => {
    const heard = [];
    const { server } = await opened(t, { on: { message: (...args) => heard.push(args) } });
    await server.request.send(block(text, { id: "e-2" }));
    const event = { type: "message", data, text, id: "e-2", state: false };
    assert.deepEqual(heard, [[data, event]]);
  });
}

test("the last event is the app's, and the cursor also the hub's", async (t) => {
  const { server, stream } = await opened(t);
  assert.deepEqual([stream.lastEvent, stream.lastEventId], [null, "e-1"]);
  await server.request.send(block("a", { id: "e-2" }));
  await server.request.send(block({ ts: 1 }, { type: "ping", id: "e-5" }));
  assert.deepEqual([stream.lastEvent.data, stream.lastEventId], ["a", "e-5"]);
});

// States

test("states are told in order, each with its error", async (t) => {
  const states = [];
  const onState = ({ state, error }) => states.push([state, error?.reason]);
  const { server, clock, stream } = await opened(t, { onState });
  await server.request.fail();
  await clock.advance(clock.next);
  await server.request.open(connected("e-1", { user_id: "alice" }));
  await server.request.end();
  await clock.advance(clock.next);
  await server.request.respond(403);
  stream.close();
  assert.deepEqual(states, [
    ["open", undefined],
    ["reconnecting", "network"],
    ["open", undefined],
    ["reconnecting", undefined],
    ["closed", "forbidden"],
    ["closed", undefined],
  ]);
});

test("a state handler that is removed hears no more", async (t) => {
  const states = [];
  const { server, stream } = await asked(t);
  const remove = stream.onState(({ state }) => states.push(state));
  remove();
  await server.request.open(connected("e-1"));
  assert.deepEqual(states, []);
});

test("reconnect() revives what an error has closed, and not what was closed", async (t) => {
  const { server, stream } = await asked(t);
  await server.request.respond(401);
  assert.equal(stream.state, "closed");
  stream.reconnect();
  await settle();
  await server.request.open(connected("e-1"));
  assert.deepEqual([stream.state, stream.error], ["open", null]);
  stream.close();
  stream.reconnect();
  await settle();
  assert.deepEqual([stream.state, server.requests.length], ["closed", 2]);
});

test("reconnect() on hearing of a reconnect makes one connection, not two", async (t) => {
  const { server, stream } = await asked(t);
  await server.request.respond(401);
  let isFirst = true;
  stream.onState(() => {
    if (isFirst) stream.reconnect();
    isFirst = false;
  });
  stream.reconnect();
  await settle();
  assert.equal(server.requests.length, 2);
});

test("a stream that is not shared is alone", async (t) => {
  const { stream } = await asked(t);
  assert.deepEqual(stream.sharing, { role: "alone", problem: null, apart: [] });
});

test("a stream that cannot be shared says why, and works all the same", async (t) => {
  t.mock.method(console, "info", () => {});
  const { stream, server } = await opened(t, { shared: true, method: "POST" });
  assert.equal(stream.sharing.role, "alone");
  assert.match(stream.sharing.problem, /GET/);
  assert.deepEqual([stream.state, server.requests.length], ["open", 1]);
});

test("nothing is sent before the code for sharing is loaded", async (t) => {
  t.mock.method(console, "info", () => {});
  new Clock();
  new Page();
  const server = new Server();
  const options = { shared: true, method: "POST" };
  const [stream, closed] = [1, 2].map(() => connect("/events", options));
  t.after(() => stream.close());
  closed.close();
  stream.reconnect();
  const change = stream.subscribe("room.8");
  assert.deepEqual(stream.sharing, { role: "alone", problem: null, apart: [] });
  await settle();
  assert.deepEqual(
    server.requests.map(({ url }) => url.pathname),
    ["/events/subscriptions", "/events"],
  );
  server.requests[0].answer(new Response());
  await change;
});

// The user

test("the stream says who the server takes it for", async (t) => {
  const { stream } = await opened(t);
  assert.deepEqual([stream.clientId, stream.userId], ["c1", "alice"]);
});

for (const [name, options] of [
  ["since the page was rendered", { userId: "bob" }],
  ["since it was connected", {}],
]) {
  test(`somebody else who has logged in ${name} gets no events here`, async (t) => {
    const heard = [];
    const on = { "*": (data, { type }) => heard.push(type) };
    const { server, stream, clock } = await asked(t, { ...options, on });
    if (!options.userId) {
      await server.request.open(connected("e-1", { user_id: "bob" }));
      await server.request.end();
      await clock.advance(clock.next);
      heard.length = 0;
    }
    await server.request.open(connected("e-1", { user_id: "alice" }) + block("secret"));
    assert.deepEqual(heard, []);
    assert.deepEqual([stream.state, stream.error.reason], ["closed", "user-changed"]);
    const before = server.requests.length;
    await clock.advance(1000);
    assert.equal(server.requests.length, before);
  });
}

test("a client that reconnects after that accepts the new user", async (t) => {
  const { server, stream } = await asked(t, { userId: "bob" });
  await server.request.open(connected("e-1", { user_id: "alice" }));
  stream.reconnect();
  await settle();
  await server.request.open(connected("e-1", { user_id: "alice" }));
  assert.deepEqual([stream.state, stream.userId], ["open", "alice"]);
});

test("a client that reconnects after a logout is shown no events of other users", async (t) => {
  const { server, stream } = await asked(t, { userId: "bob" });
  await server.request.respond(401);
  stream.reconnect();
  await settle();
  await server.request.open(connected("e-1", { user_id: "alice" }));
  assert.deepEqual([stream.state, stream.error.reason], ["closed", "user-changed"]);
});

test("a user that a page writes as a number is the same one", async (t) => {
  const { server, stream } = await asked(t, { userId: 42 });
  await server.request.open(connected("e-1", { user_id: "42" }));
  assert.deepEqual([stream.state, stream.userId], ["open", "42"]);
});

// Iterating

/** Iterate until the end. Return the events, and the error that ended the loop. */
async function collected(stream) {
  const texts = [];
  try {
    for await (const { text } of stream) texts.push(text);
  } catch (error) {
    return { texts, error };
  }
  return { texts };
}

test("a loop gets the events from now on, and ends when the stream is closed", async (t) => {
  const { server, stream } = await opened(t);
  const loop = collected(stream);
  await server.request.send(block("a") + block("b"));
  await server.request.send(block("c"));
  stream.close();
  assert.deepEqual(await loop, { texts: ["a", "b", "c"] });
});

test("a loop throws the error that closes the stream", async (t) => {
  const { server, stream } = await asked(t);
  const loop = collected(stream);
  await server.request.respond(403);
  assert.equal((await loop).error.reason, "forbidden");
});

test("a loop that is left listens no more", async (t) => {
  const { server, stream } = await opened(t);
  const loop = (async () => {
    for await (const { text } of stream) return text;
  })();
  await server.request.send(block("a"));
  assert.equal(await loop, "a");
  await server.request.send(block("b"));
  assert.equal(stream.state, "open");
});

test("a loop that is too slow by far is told so, and keeps no more", async (t) => {
  const { server, stream } = await opened(t);
  const iterator = stream[Symbol.asyncIterator]();
  const first = iterator.next();
  await server.request.send(block("a"));
  assert.equal((await first).value.text, "a");
  await server.request.send(block("x").repeat(10_001));
  await assert.rejects(iterator.next(), /too slow/);
});

// The page

test("a page that is left holds no connection, and has one when it is back", async (t) => {
  const { server, stream, page } = await opened(t);
  page.tell("pagehide");
  assert.ok(server.request.signal.aborted);
  page.tell("pageshow", { persisted: true });
  await settle();
  assert.equal(server.requests.length, 2);
  assert.equal(stream.state, "reconnecting");
});

test("a network that is back renews the connection", async (t) => {
  const { server, page } = await opened(t);
  page.tell("online");
  await settle();
  assert.equal(server.requests.length, 2);
});

test("nobody sees the page, nothing is asked for", async (t) => {
  const { server, stream, page, clock } = await opened(t, { pauseWhenHidden: 5 });
  page.hide();
  await clock.advance(4);
  assert.equal(stream.state, "open");
  await clock.advance(1);
  assert.deepEqual([stream.state, stream.error.reason], ["reconnecting", "hidden"]);
  assert.ok(server.request.signal.aborted);
  page.show();
  await settle();
  assert.equal(server.requests.length, 2);
});

test("a look at another tab costs no reconnect", async (t) => {
  const { server, page, clock } = await opened(t, { pauseWhenHidden: true });
  page.hide();
  await clock.advance(9);
  page.show();
  await clock.advance(20);
  assert.equal(server.requests.length, 1);
});

test("a stream that was refused while nobody sees the page stays closed", async (t) => {
  const { server, stream, page, clock } = await asked(t, { pauseWhenHidden: 5 });
  page.hide();
  await server.request.respond(403);
  await clock.advance(10);
  assert.deepEqual([stream.state, stream.error.reason], ["closed", "forbidden"]);
});

// The end in the console

const END = { "Content-Type": "application/json" };

/** Open a stream that is refused for good, and return the warnings in the console. */
async function warnings(t, options, status = 403) {
  const { mock } = t.mock.method(console, "warn", () => {});
  const { server, stream } = await asked(t, options);
  await server.request.respond(status, END);
  if (status !== 204) {
    await server.request.send(JSON.stringify({ error: "the channel 'typo' is closed" }));
    await server.request.end();
  }
  assert.equal(stream.state, "closed");
  return mock.calls.map(({ arguments: [text] }) => text);
}

test("an end that no handler would notice is in the console, with its reason", async (t) => {
  assert.deepEqual(await warnings(t), [
    "sse-hub: https://example.org/events is closed: the server answered 403:" +
      " the channel 'typo' is closed",
  ]);
});

test("an end is not in the console if the page handles states", async (t) => {
  assert.deepEqual(await warnings(t, { onState() {} }), []);
});

test("an end is not in the console if the server has nothing more to send", async (t) => {
  assert.deepEqual(await warnings(t, {}, 204), []);
});

test("a stream that the page closes is not in the console", async (t) => {
  const { mock } = t.mock.method(console, "warn", () => {});
  const { stream } = await opened(t);
  stream.close();
  assert.equal(mock.callCount(), 0);
});

test("a user that has changed is in the console", async (t) => {
  const { mock } = t.mock.method(console, "warn", () => {});
  await opened(t, { userId: "bob" });
  assert.match(mock.calls[0].arguments[0], /somebody else is logged in now/);
});

// State

test("a stream asks for the state, and marks its values", async (t) => {
  const heard = [];
  const { server, stream } = await asked(t, {
    state: true,
    on: { "*": (_, e) => heard.push(e) },
  });
  assert.match(server.request.url.search, /[?&]state=1/);
  const greeting = block({ client_id: "c1", user_id: null }, { type: "connected" });
  await server.request.open(greeting + block("old"));
  assert.equal(stream.lastEventId, "");
  await server.request.send(
    block({}, { type: "ping", id: "e-5" }) + block("new", { id: "e-6" }),
  );
  const own = heard.filter(({ type }) => type === "message");
  assert.deepEqual(
    own.map(({ data, state }) => [data, state]),
    [
      ["old", true],
      ["new", false],
    ],
  );
  assert.equal(stream.lastEventId, "e-6");
});

test("a state that broke off begins again with a reset", async (t) => {
  const heard = [];
  const { clock, server } = await asked(t, {
    state: true,
    on: { "*": ({ reason }, { type, text }) => heard.push(reason ?? (type && text)) },
  });
  const greeting = block({}, { type: "connected" });
  const again = async () => {
    await server.request.fail();
    await clock.advance(60);
  };
  await server.request.open(greeting + block("1") + block("2"));
  await again();
  // A value that has ended meanwhile does not come again.
  await server.request.open(greeting + block("2"));
  await again();
  await server.request.open(greeting);
  await again();
  await server.request.open(greeting + block("2") + block({}, { type: "ping", id: "e-5" }));
  await again();
  await server.request.open(connected("e-5", { resumed: true }));
  const told = heard.filter((text) => /^(\d|interrupted)/.test(text));
  assert.deepEqual(told, ["1", "2", "interrupted", "2", "interrupted", "2"]);
});

test("a stream with the state is not shared", async (t) => {
  t.mock.method(console, "info", () => {});
  const { stream } = await opened(t, { shared: true, state: true });
  assert.match(stream.sharing.problem, /state/);
});

// The end by a signal, and by the end of a block

test("a signal closes the stream, and is then let go", async (t) => {
  const control = new AbortController();
  const { server, stream, page } = await opened(t, { signal: control.signal });
  control.abort();
  await settle();
  assert.deepEqual([stream.state, stream.error], ["closed", null]);
  assert.ok(server.request.signal.aborted);
  assert.equal(page.listeners, 0);
  assert.deepEqual(getEventListeners(control.signal, "abort"), []);
});

test("a stream that is closed lets its signal go", async (t) => {
  const control = new AbortController();
  const { stream } = await opened(t, { signal: control.signal });
  const [listener] = getEventListeners(control.signal, "abort").slice(-1);
  stream.close();
  assert.ok(!getEventListeners(control.signal, "abort").includes(listener));
});

test("a signal that is aborted already lets no request out", async (t) => {
  const { server, stream } = await asked(t, { signal: AbortSignal.abort() });
  assert.equal(stream.state, "closed");
  assert.deepEqual(server.requests, []);
});

test("a signal that is none is refused", async (t) => {
  await assert.rejects(asked(t, { signal: "soon" }), TypeError);
});

test("the end of a block with using closes the stream", async (t) => {
  const { stream } = await opened(t);
  stream[Symbol.dispose]();
  assert.equal(stream.state, "closed");
});
