// Outside a page: in Node.js, where a server renders it, and with a part of a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/index.js";
// A stream loads it when it is shared. That takes real time the first time.
import "../src/shared.js";
import { Clock, settle } from "./parts/clock.js";
import { Server, block, connected } from "./parts/server.js";

function outside(t) {
  // Each of these is absent in some versions of Node.js, or in jsdom.
  for (const name of ["addEventListener", "removeEventListener", "reportError"]) {
    const own = Object.getOwnPropertyDescriptor(globalThis, name);
    delete globalThis[name];
    t.after(() => own && Object.defineProperty(globalThis, name, own));
  }
  return { clock: new Clock(), server: new Server() };
}

test("a stream opens and closes without a window", async (t) => {
  const { clock, server } = outside(t);
  const heard = [];
  const on = { message: (data) => heard.push(data) };
  const stream = connect("https://example.org/events", { on });
  await settle();
  await server.request.open(connected("e-1") + block("a"));
  assert.deepEqual([heard, stream.state], [["a"], "open"]);
  stream.close();
  assert.deepEqual([stream.state, clock.pending], ["closed", 0]);
});

test("a handler that throws stops nothing where nobody reports errors", async (t) => {
  const { server } = outside(t);
  const { mock } = t.mock.method(console, "error", () => {});
  const on = { message: (data) => assert.fail(data) };
  const stream = connect("https://example.org/events", { on });
  t.after(() => stream.close());
  await settle();
  await server.request.open(connected("e-1") + block("a") + block("b"));
  assert.deepEqual([stream.state, server.requests.length], ["open", 1]);
  assert.deepEqual(
    mock.calls.map(({ arguments: [error] }) => error.message),
    ["a", "b"],
  );
});

test("where a server renders a page, a relative address opens nothing", async (t) => {
  const { clock, server } = outside(t);
  for (const args of [[], ["/events"], [{ shared: true, pauseWhenHidden: true }]]) {
    const stream = connect(...args);
    stream.on("message", () => {});
    stream.reconnect();
    await settle();
    // The page begins in this state too.
    assert.deepEqual([stream.state, stream.error], ["connecting", null]);
    stream.close();
  }
  assert.deepEqual([server.requests.length, clock.pending], [0, 0]);
});

test("a mistake is an error there too", () => {
  assert.throws(() => connect("/events", { share: true }), TypeError);
});

test("a shared stream is one of its own there, and says why", async (t) => {
  const { server } = outside(t);
  t.mock.method(console, "info", () => {});
  const stream = connect("https://example.org/events", { shared: true });
  t.after(() => stream.close());
  await settle();
  await server.request.open(connected("e-1"));
  assert.equal(stream.sharing.role, "alone");
  assert.ok(stream.sharing.problem);
});

test("in a worker an address is relative to its script", async (t) => {
  const { server } = outside(t);
  globalThis.location = { href: "https://example.org/static/worker.js" };
  t.after(() => delete globalThis.location);
  const stream = connect("/events");
  t.after(() => stream.close());
  await settle();
  assert.equal(server.request.url.href, "https://example.org/events");
});

test("a fetch() without a body, as React Native's, ends the stream with a reason", async (t) => {
  const { server } = outside(t);
  const stream = connect("https://example.org/events", { onState: () => {} });
  t.after(() => stream.close());
  await settle();
  const answer = new Response(null, {
    headers: { "Content-Type": "text/event-stream" },
  });
  await server.request.answer(answer);
  assert.deepEqual([stream.state, stream.error.reason], ["closed", "not-a-stream"]);
});
