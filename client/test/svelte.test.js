import assert from "node:assert/strict";
import { test } from "node:test";
import { get } from "svelte/store";
import { sseStore } from "../src/svelte.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server, block, connected } from "./parts/server.js";

/** Make a store in a page. */
function made(options) {
  new Clock();
  return { page: new Page(), server: new Server(), store: sseStore(options) };
}

/** Subscribe to a store. Returns the values that it has had. */
async function subscribed(t, store) {
  const values = [];
  t.after(store.subscribe((value) => values.push(value)));
  await settle();
  return values;
}

const shown = ({ isConnected, state, error, lastEvent }) => [
  isConnected,
  state,
  error?.reason,
  lastEvent?.data,
];

test("it follows the stream as long as it has subscribers", async (t) => {
  const heard = [];
  const { page, server, store } = made({
    url: "/events",
    eventHandlers: { story: (data) => heard.push(data) },
  });
  await settle();
  assert.deepEqual(server.requests, []);
  const values = [];
  const stop = [store.subscribe((value) => values.push(value)), store.subscribe(() => {})];
  await settle();
  assert.deepEqual(shown(values.at(-1)), [false, "connecting", undefined, undefined]);
  await server.request.open(connected("e-1") + block("news", { type: "story", id: "e-2" }));
  assert.deepEqual(shown(values.at(-1)), [true, "open", undefined, "news"]);
  assert.deepEqual([heard, server.requests.length], [["news"], 1]);
  stop[0]();
  assert.ok(!server.request.signal.aborted);
  stop[1]();
  assert.ok(server.request.signal.aborted);
  assert.equal(page.listeners, 0);
  store.reconnect();
  await settle();
  assert.equal(server.requests.length, 1);
});

test("a store that is used again begins as a new one", async (t) => {
  const { server, store } = made({ url: "/events" });
  const stop = store.subscribe(() => {});
  await settle();
  await server.request.open(connected("e-1") + block("old", { id: "e-2" }));
  stop();
  const values = await subscribed(t, store);
  assert.deepEqual(shown(values.at(-1)), [false, "connecting", undefined, undefined]);
  assert.equal(server.requests.length, 2);
});

test("without a url nothing is opened", async (t) => {
  const { server, store } = made({ url: null });
  const values = await subscribed(t, store);
  assert.deepEqual([server.requests.length, values.at(-1).state], [0, "closed"]);
});

test("a closed stream is resumed by reconnect", async (t) => {
  const { server, store } = made({ url: "/events" });
  const values = await subscribed(t, store);
  await server.request.open(connected("e-1") + block("a", { id: "e-2" }));
  store.closeConnection();
  assert.equal(values.at(-1).state, "closed");
  store.reconnect();
  await settle();
  assert.equal(server.request.headers.get("Last-Event-ID"), "e-2");
});

test("an end that no component shows is in the console", async (t) => {
  for (const [reads, warned] of [
    [false, 1],
    [true, 0],
  ]) {
    const warn = t.mock.method(console, "warn", () => {});
    const { server, store } = made({ url: "/events" });
    const stop = store.subscribe((value) => reads && value.state);
    await settle();
    await server.request.respond(403);
    assert.equal(warn.mock.callCount(), warned);
    warn.mock.restore();
    stop();
  }
});

test("a server renders a component without a stream", async () => {
  const { server, store } = made({ url: "/events" });
  delete globalThis.document;
  assert.equal(get(store).state, "connecting");
  assert.deepEqual(server.requests, []);
});
