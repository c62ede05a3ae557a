import assert from "node:assert/strict";
import { test } from "node:test";
import { Connection } from "../src/connection.js";
import { errorOf } from "../src/errors.js";
import { Clock, settle } from "./parts/clock.js";
import { Server, block, connected } from "./parts/server.js";

/** Start a connection, and record the calls of its listener. */
async function started(t, options = {}, { lastEventId = "", clientId } = {}) {
  const clock = new Clock();
  const server = new Server();
  const events = [];
  const states = [];
  const errors = [];
  const listener = {
    onEvent: (event, before) => events.push({ ...event, before }),
    onState: (state, error) => {
      states.push(error ? `${state} ${error.reason}` : state);
      if (error) errors.push(error);
    },
  };
  const url = new URL("https://example.org/events?channel=news");
  const from = { clientId, lastEventId };
  const connection = new Connection(url, options, listener, from);
  t.after(() => connection.stop());
  connection.start();
  await settle();
  return { clock, server, events, states, errors, connection };
}

/** Let a lost connection try again, and return its request. */
async function comeBack({ clock, server }) {
  const before = server.requests.length;
  await clock.advance(clock.next);
  assert.equal(server.requests.length, before + 1);
  return server.request;
}

const texts = (events) => events.map(({ text }) => text);

// The request

test("a stream is asked for, not a copy of one, with its errors as statuses", async (t) => {
  const { server } = await started(t);
  const { url, headers, init } = server.request;
  assert.equal(url.href, "https://example.org/events?channel=news");
  assert.equal(headers.get("Accept"), "text/event-stream");
  assert.equal(headers.get("Prefer"), "sse-status");
  assert.equal(headers.get("Last-Event-ID"), null);
  assert.equal(init.cache, "no-store");
});

test("method, body, credentials and headers of one's own are sent each time", async (t) => {
  const options = {
    method: "POST",
    body: "{}",
    credentials: "include",
    headers: { "X-Own": "yes" },
  };
  const parts = await started(t, options);
  await parts.server.request.fail();
  for (const { init, headers } of [parts.server.requests[0], await comeBack(parts)]) {
    assert.deepEqual(
      [init.method, init.body, init.credentials, headers.get("X-Own")],
      ["POST", "{}", "include", "yes"],
    );
  }
});

test("the cursor to begin after is sent, and then the last event's", async (t) => {
  const parts = await started(t, {}, { lastEventId: "e-7" });
  const { request } = parts.server;
  assert.equal(request.headers.get("Last-Event-ID"), "e-7");
  await request.open(connected("e-7", { resumed: true }) + block("a", { id: "e-8" }));
  await request.end();
  assert.equal((await comeBack(parts)).headers.get("Last-Event-ID"), "e-8");
});

test("an id beyond ASCII is sent as an EventSource sends it, in UTF-8", async (t) => {
  const { server } = await started(t, {}, { lastEventId: "été-✓" });
  const value = server.request.headers.get("Last-Event-ID");
  assert.equal(Buffer.from(value, "latin1").toString("utf8"), "été-✓");
});

test("the client's id is sent, and from then on the one that the server gave", async (t) => {
  const parts = await started(t, {}, { clientId: "of-page" });
  const { request } = parts.server;
  assert.equal(request.url.searchParams.get("client_id"), "of-page");
  await request.open(connected("e-1", { client_id: "given" }));
  await request.end();
  assert.equal((await comeBack(parts)).url.searchParams.get("client_id"), "given");
});

// Tickets

test("a ticket is asked for before each attempt", async (t) => {
  let asked = 0;
  const parts = await started(t, { ticket: async () => `ticket ${++asked}` });
  const { server } = parts;
  assert.equal(server.request.url.searchParams.get("ticket"), "ticket 1");
  await server.request.open(connected("e-1"));
  await server.request.end();
  assert.equal((await comeBack(parts)).url.searchParams.get("ticket"), "ticket 2");
  assert.equal(server.request.url.searchParams.get("channel"), "news");
});

test("a ticket callback that throws is asked again later", async (t) => {
  let isAway = true;
  const ticket = () => {
    if (isAway) throw new Error("away");
    return "good";
  };
  const parts = await started(t, { ticket });
  assert.deepEqual(parts.states, ["connecting", "reconnecting ticket"]);
  assert.equal(parts.server.requests.length, 0);
  isAway = false;
  assert.equal((await comeBack(parts)).url.searchParams.get("ticket"), "good");
});

for (const nothing of [undefined, null, ""]) {
  test(`a ticket callback that gives ${JSON.stringify(nothing)} ends it`, async (t) => {
    const { states, server, clock } = await started(t, { ticket: () => nothing });
    await clock.advance(1000);
    assert.deepEqual(states, ["connecting", "closed unauthorized"]);
    assert.equal(server.requests.length, 0);
  });
}

test("a ticket callback that hangs is given up", async (t) => {
  const { states, clock } = await started(t, { ticket: () => new Promise(() => {}) });
  await clock.advance(40);
  assert.deepEqual(states.slice(0, 2), ["connecting", "reconnecting silent"]);
});

// Reading the stream

const HEAD = connected("e-1");

const BODIES = {
  "one line": ["data: a\n\n", [["message", "a", "e-1"]]],
  "several lines": ["data: a\ndata: b\ndata\n\n", [["message", "a\nb\n", "e-1"]]],
  "types and ids": [
    "event: x\nid: e-2\ndata: 1\n\nid: e-3\ndata: 2\n\n",
    [
      ["x", "1", "e-2"],
      ["message", "2", "e-3"],
    ],
  ],
  "CRLF and CR": [
    "id: e-2\r\ndata: a\r\n\r\nid: e-3\rdata: b\r\rdata: c\n\n",
    [
      ["message", "a", "e-2"],
      ["message", "b", "e-3"],
      ["message", "c", "e-3"],
    ],
  ],
  "comments and unknown fields": [
    ": hi\nwhat: ever\ndata: a\n\n",
    [["message", "a", "e-1"]],
  ],
  "no space, two spaces": ["data:a\ndata:  b\n\n", [["message", "a\n b", "e-1"]]],
  "more than ASCII": ["id: é\ndata: héllo ✓ 🎉\n\n", [["message", "héllo ✓ 🎉", "é"]]],
  "an event that is not finished": ["data: a\n\ndata: b\n", [["message", "a", "e-1"]]],
};

for (const [name, [body, wanted]] of Object.entries(BODIES)) {
  for (const way of ["whole", "byte by byte", "split in two anywhere"]) {
    test(`an answer is read ${way}: ${name}`, async (t) => {
      const { server, events, connection } = await started(t);
      const bytes = new TextEncoder().encode(HEAD + body);
      const splits = way.startsWith("split") ? bytes.map((_, at) => at) : [0];
      for (const at of splits) {
        if (at) {
          connection.start();
          await settle();
        }
        events.length = 0;
        await server.request.open();
        if (way === "byte by byte") {
          for (const byte of bytes) await server.request.send(Uint8Array.of(byte));
        } else {
          await server.request.send(bytes.subarray(0, at));
          await server.request.send(bytes.subarray(at));
        }
        const found = events.map(({ type, text, id }) => [type, text, id]);
        assert.equal(found.shift()[0], "connected");
        assert.deepEqual(found, wanted);
      }
    });
  }
}

test("each event comes with the id of the one before it", async (t) => {
  const { server, events } = await started(t, {}, { lastEventId: "e-3" });
  await server.request.open(
    connected("e-3", { resumed: true }) +
      block("a", { id: "e-5" }) +
      block("b", { id: "e-9" }),
  );
  assert.deepEqual(
    events.map(({ before, id }) => [before, id]),
    [
      ["e-3", "e-3"],
      ["e-3", "e-5"],
      ["e-5", "e-9"],
    ],
  );
});

test("it is open with the first event, not with the answer", async (t) => {
  const { server, states } = await started(t);
  await server.request.open();
  assert.deepEqual(states, ["connecting"]);
  await server.request.send(HEAD);
  assert.deepEqual(states, ["connecting", "open"]);
});

test("without a cursor the greeting's id is one", async (t) => {
  const { server, connection } = await started(t);
  await server.request.open(connected("e-9"));
  assert.equal(connection.lastEventId, "e-9");
});

test("a client that is dropped before the reset receives it again", async (t) => {
  const parts = await started(t, {}, { lastEventId: "old-1" });
  await parts.server.request.open(connected("e-9"));
  await parts.server.request.fail();
  const request = await comeBack(parts);
  assert.equal(request.headers.get("Last-Event-ID"), "old-1");
  const reset = block({ reason: "epoch" }, { type: "reset", id: "e-9" });
  await request.open(connected("e-9") + reset);
  assert.equal(parts.connection.lastEventId, "e-9");
});

test("the server's retry is waited for", async (t) => {
  const parts = await started(t);
  await parts.server.request.open(connected("e-1") + "retry: 12000\n");
  await parts.server.request.end();
  await parts.clock.advance(11.9);
  assert.equal(parts.server.requests.length, 1);
  await parts.clock.advance(0.1);
  assert.equal(parts.server.requests.length, 2);
});

test("an event that grows without end is given up, and its connection with it", async (t) => {
  const { server, states } = await started(t);
  await server.request.open(HEAD);
  const { request } = server;
  for (let times = 0; times < 33; times++) await request.send("data: ".padEnd(2 ** 20));
  assert.equal(states.at(-1), "reconnecting network");
  assert.ok(request.signal.aborted);
});

// Errors that end a stream, and errors that pass

for (const [status, reason] of [
  [204, "no-content"],
  [400, "bad-request"],
  [401, "unauthorized"],
  [403, "forbidden"],
]) {
  test(`${status} ends it`, async (t) => {
    const { clock, server, states } = await started(t);
    await server.request.respond(status);
    await clock.advance(10_000);
    assert.deepEqual(states, ["connecting", `closed ${reason}`]);
    assert.deepEqual([server.requests.length, clock.pending], [1, 0]);
    assert.ok(server.request.signal.aborted, "its body is left unread");
  });
}

for (const [status, reason] of [
  [429, "busy"],
  [503, "unavailable"],
]) {
  test(`${status} is asked again after its Retry-After, by itself only`, async (t) => {
    const { clock, server, states, connection } = await started(t);
    await server.request.respond(status, { "Retry-After": "60" });
    await clock.advance(59);
    connection.check();
    await settle();
    assert.deepEqual(states, ["connecting", `reconnecting ${reason}`]);
    assert.equal(server.requests.length, 1);
    await clock.advance(31);
    assert.equal(server.requests.length, 2);
  });
}

test("a network that is gone is tried again, with growing delays", async (t) => {
  const parts = await started(t);
  const delays = [];
  for (let times = 0; times < 4; times++) {
    await parts.server.request.fail();
    delays.push(parts.clock.next);
    await comeBack(parts);
  }
  for (const [index, delay] of delays.entries()) {
    const longest = Math.min(30, 3 * 2 ** (index + 1));
    assert.ok(delay >= longest / 2 && delay <= longest, `${delays}`);
  }
  assert.equal(parts.states[1], "reconnecting network");
});

test("answers without an event count as failures", async (t) => {
  const parts = await started(t);
  for (let times = 0; times < 6; times++) {
    await parts.server.request.open();
    await parts.server.request.end();
    await comeBack(parts);
  }
  await parts.server.request.open();
  await parts.server.request.end();
  assert.ok(parts.clock.next >= 15);
});

test("the end of an answered stream is no error", async (t) => {
  const { server, states } = await started(t);
  await server.request.open(HEAD);
  await server.request.end();
  assert.deepEqual(states, ["connecting", "open", "reconnecting"]);
});

test("a look at the page tries the network at once", async (t) => {
  const { server, connection } = await started(t);
  await server.request.fail();
  connection.check();
  await settle();
  assert.equal(server.requests.length, 2);
});

test("an answer that does not come is given up", async (t) => {
  const { clock, server, states } = await started(t);
  await clock.advance(36);
  assert.ok(server.requests[0].signal.aborted);
  assert.equal(states[1], "reconnecting silent");
});

test("missed heartbeats end a connection, and comments are signs of life", async (t) => {
  const { clock, server, states } = await started(t);
  await server.request.open(connected("e-1", { heartbeat: 10 }));
  for (let times = 0; times < 5; times++) {
    await clock.advance(20);
    await server.request.send(":\n");
  }
  assert.deepEqual(states, ["connecting", "open"]);
  await clock.advance(31);
  assert.equal(states[2], "reconnecting silent");
});

test("a server that does not say its heartbeat has the one of the options", async (t) => {
  const { clock, server, states } = await started(t, { heartbeat: 4 });
  await server.request.open(block("a", { id: "1" }));
  await clock.advance(13);
  assert.equal(states[2], "reconnecting silent");
});

test("without any heartbeat silence is nothing", async (t) => {
  const { clock, server, states } = await started(t);
  await server.request.open(block("a", { id: "1" }));
  await clock.advance(100_000);
  assert.deepEqual(states, ["connecting", "open"]);
});

// Stopping and starting

test("a client that is stopped at once sends no request", async (t) => {
  const { server, connection } = await started(t);
  const before = server.requests.length;
  connection.start();
  connection.stop();
  await settle();
  assert.equal(server.requests.length, before);
});

test("after a stop nothing is delivered, not even of the same chunk", async (t) => {
  const { server, events, connection, clock } = await started(t);
  await server.request.open(HEAD);
  events.push = (event) => {
    if (event.text === "a") connection.stop();
    return Array.prototype.push.call(events, event);
  };
  await server.request.send(block("a") + block("b"));
  assert.deepEqual(texts(events).slice(1), ["a"]);
  assert.equal(connection.lastEventId, "e-1");
  assert.deepEqual([server.request.signal.aborted, clock.pending], [true, 0]);
});

test("a stop while it waits leaves no timer", async (t) => {
  const { server, connection, clock } = await started(t);
  await server.request.fail();
  assert.equal(clock.pending, 1);
  connection.stop();
  await settle();
  assert.equal(clock.pending, 0);
});

test("a stop on hearing of a loss leaves no timer", async (t) => {
  const { server, connection, clock, states } = await started(t);
  states.push = () => connection.stop();
  await server.request.fail();
  assert.equal(clock.pending, 0);
});

test("a stop on hearing that it is asked for again sends no request", async (t) => {
  const { server, connection, clock, states } = await started(t);
  await server.request.respond(401);
  states.push = () => connection.stop();
  connection.start();
  await settle();
  assert.deepEqual([server.requests.length, clock.pending], [1, 0]);
});

test("a start makes a new connection of an open one, with its cursor", async (t) => {
  const { server, connection, states } = await started(t);
  await server.request.open(HEAD + block("a", { id: "e-2" }));
  connection.start();
  await settle();
  assert.ok(server.requests[0].signal.aborted);
  assert.equal(server.requests.length, 2);
  assert.equal(server.request.headers.get("Last-Event-ID"), "e-2");
  assert.equal(states.at(-1), "reconnecting");
});

test("a start revives one that was ended", async (t) => {
  const { server, connection, states } = await started(t);
  await server.request.respond(401);
  connection.start();
  await settle();
  await server.request.open(HEAD);
  assert.deepEqual(states.slice(-2), ["reconnecting", "open"]);
});

test("a network that is back renews what is started, and nothing else", async (t) => {
  const { server, connection } = await started(t);
  connection.renew();
  await settle();
  assert.equal(server.requests.length, 2);
  connection.stop();
  connection.renew();
  await settle();
  assert.equal(server.requests.length, 2);
});

test("however often it comes back, it keeps no more listeners", async (t) => {
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  t.after(() =>
    Object.assign(EventTarget.prototype, { addEventListener, removeEventListener }),
  );
  const run = new Map();
  EventTarget.prototype.addEventListener = function (...args) {
    run.set(this, (run.get(this) ?? 0) + 1);
    return addEventListener.apply(this, args);
  };
  EventTarget.prototype.removeEventListener = function (...args) {
    run.set(this, run.get(this) - 1);
    return removeEventListener.apply(this, args);
  };
  const parts = await started(t);
  for (let times = 0; times < 20; times++) {
    await parts.server.request.fail();
    await comeBack(parts);
  }
  assert.ok(Math.max(...run.values()) < 10);
});

// Refusals

const REFUSALS = [
  ["of a hub", "application/json", '{"error": "the reason"}', ": the reason"],
  ["in a kind of JSON", "application/problem+json", '{"error": "so"}', ": so"],
  ["as a text", "text/plain; charset=utf-8", "the reason ✓", ": the reason ✓"],
  ["in JSON of another form", "application/json", '{"code": 7}', ': {"code": 7}'],
  ["whose error is an object", "application/json", '{"error": {}}', ': {"error": {}}'],
  ["in broken JSON", "application/json", '{"error', ': {"error'],
  ["that is empty", "text/plain", "", ""],
  ["that is a page", "text/html", "<h1>Forbidden</h1>", ""],
];

for (const [name, type, body, text] of REFUSALS) {
  test(`the message of an error has the server's reason: one ${name}`, async (t) => {
    const parts = await started(t);
    const { request } = parts.server;
    await request.respond(403, { "Content-Type": type });
    // The body of a page is not read: the request has been given up by now.
    if (!request.signal.aborted) {
      if (body) await request.send(body);
      await request.end();
    }
    const error = parts.errors.at(-1);
    assert.equal(error.message, `the server answered 403${text}`);
    assert.deepEqual([error.reason, error.status], ["forbidden", 403]);
    assert.equal(parts.states.at(-1), "closed forbidden");
  });
}

test("a long reason is cut", async (t) => {
  const parts = await started(t);
  await parts.server.request.respond(400, { "Content-Type": "text/plain" });
  await parts.server.request.send("x".repeat(5000));
  await parts.server.request.end();
  assert.ok(parts.errors.at(-1).message.length < 1100);
});

test("a reason that never ends does not hide the refusal", async (t) => {
  const parts = await started(t);
  await parts.server.request.respond(403, { "Content-Type": "text/plain" });
  await parts.server.request.send("because");
  await parts.clock.advance(60);
  assert.equal(parts.states.at(-1), "closed forbidden");
  assert.equal(parts.server.requests.length, 1);
});

test("a reason that breaks off does not hide the refusal", async (t) => {
  const parts = await started(t);
  await parts.server.request.respond(401, { "Content-Type": "application/json" });
  await parts.server.request.fail();
  assert.equal(parts.states.at(-1), "closed unauthorized");
});

test("a refusal that passes has its reason too", async (t) => {
  const parts = await started(t);
  await parts.server.request.respond(503, { "Content-Type": "application/json" });
  await parts.server.request.send('{"error": "this worker is going away"}');
  await parts.server.request.end();
  assert.equal(parts.states.at(-1), "reconnecting unavailable");
  assert.match(parts.errors.at(-1).message, /503: this worker is going away$/);
});

// Navigations that do not leave the page

/** Begin to leave the page, which cuts the stream, and return the next request. */
async function cut(parts, how = "fail") {
  const before = parts.server.requests.length;
  parts.connection.leave();
  await parts.server.request[how]();
  assert.equal(parts.server.requests.length, before + 1, "it waits");
  return parts.server.request;
}

for (const how of ["fail", "end"]) {
  test(`a stream that a navigation cuts is back at once: ${how}`, async (t) => {
    const parts = await started(t);
    await parts.server.request.open(HEAD + block("a", { id: "e-2" }));
    const request = await cut(parts, how);
    assert.equal(request.headers.get("Last-Event-ID"), "e-2");
    assert.ok(request.init.keepalive, "the same navigation would cut it again");
    await request.open(connected("e-2", { resumed: true }));
    assert.deepEqual(new Set(parts.states), new Set(["connecting", "open"]));
  });
}

test("each navigation may cut once, and what it cuts again waits", async (t) => {
  const parts = await started(t);
  await parts.server.request.open(HEAD);
  for (let times = 0; times < 3; times++) await (await cut(parts)).open(HEAD);
  await cut(parts);
  await parts.server.request.fail();
  assert.equal(parts.states.at(-1), "reconnecting network");
  assert.ok(parts.clock.next >= 3);
  // The browser may have refused it because of that.
  assert.ok(!(await comeBack(parts)).init.keepalive);
});

test("a request that navigations do not cut is made again after other faults", async (t) => {
  const parts = await started(t);
  await parts.server.request.open(HEAD);
  await (await cut(parts)).open(HEAD);
  await parts.clock.advance(10);
  await parts.server.request.end();
  assert.ok((await comeBack(parts)).init.keepalive);
});

test("a fault long after a navigation is told, and refusals are always", async (t) => {
  const parts = await started(t);
  await parts.server.request.open(HEAD);
  parts.connection.leave();
  await parts.clock.advance(1.1);
  await parts.server.request.fail();
  assert.equal(parts.states.at(-1), "reconnecting network");
  parts.connection.leave();
  await (await comeBack(parts)).respond(503);
  assert.equal(parts.states.at(-1), "reconnecting unavailable");
});

// Answers that are no stream

test("a stream without an event is a server that is away", async (t) => {
  const { server, states } = await started(t);
  await server.request.open("retry: 5000\n");
  await server.request.end();
  assert.deepEqual(states, ["connecting", "reconnecting unavailable"]);
});

for (const [type, status, isStream] of [
  ["TEXT/Event-Stream", 200, true],
  ["text/event-stream ;charset=latin1", 200, true],
  ["text/event-stream-bogus", 200, false],
  ["text/event-stream", 201, false],
  ["text/event-stream", 206, false],
  ["text/event-stream", 304, false],
]) {
  test(`${status} with ${type} is ${isStream ? "a" : "no"} stream`, async () => {
    const error = await errorOf({
      status,
      headers: new Headers({ "Content-Type": type }),
    });
    assert.equal(error?.reason, isStream ? undefined : "not-a-stream");
  });
}

// Other origins

for (const [name, isThere, wanted] of [
  ["an answer without CORS is told from an outage", true, /no CORS headers for/],
  ["an outage of another origin is an outage", false, /^TypeError: the network is gone$/],
]) {
  test(name, async (t) => {
    t.after(() => delete globalThis.origin);
    globalThis.origin = "https://page.example";
    const { server, states, errors } = await started(t);
    await server.request.fail();
    const { url, init } = server.request;
    assert.deepEqual(
      [url.href, init.method, init.mode, init.credentials],
      ["https://example.org/events", "HEAD", "no-cors", "omit"],
    );
    if (isThere) await server.request.respond(200);
    else await server.request.fail();
    assert.equal(states.at(-1), "reconnecting network");
    assert.match(errors.at(-1).message, wanted);
  });
}
