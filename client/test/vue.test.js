import assert from "node:assert/strict";
import { test } from "node:test";
import { createSSRApp, effectScope, h, nextTick, reactive, ref } from "vue";
import { renderToString } from "vue/server-renderer";
import { useSSE } from "../src/vue.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server, block, connected } from "./parts/server.js";

/** Call the composable in a scope, as a component does. */
async function used(t, options) {
  new Clock();
  const page = new Page();
  const server = new Server();
  const scope = effectScope();
  t.after(() => scope.stop());
  const sse = scope.run(() => useSSE(options));
  await settle();
  return { page, scope, server, sse };
}

const shown = ({ isConnected, state, error, lastEvent }) => [
  isConnected.value,
  state.value,
  error.value?.reason,
  lastEvent.value?.data,
];

test("it follows the stream until the scope ends", async (t) => {
  const heard = [];
  const { page, scope, server, sse } = await used(t, {
    url: "/events",
    eventHandlers: { story: (data) => heard.push(data) },
  });
  assert.deepEqual(shown(sse), [false, "connecting", undefined, undefined]);
  await server.request.open(connected("e-1") + block("news", { type: "story", id: "e-2" }));
  assert.deepEqual(shown(sse), [true, "open", undefined, "news"]);
  assert.deepEqual(heard, ["news"]);
  scope.stop();
  assert.ok(server.request.signal.aborted);
  assert.equal(page.listeners, 0);
  sse.reconnect();
  await settle();
  assert.equal(server.requests.length, 1);
});

test("a getter's new url is a new stream, and nothing of the last one is shown", async (t) => {
  const room = ref("a");
  const { server, sse } = await used(t, () => ({ url: `/events?channel=${room.value}` }));
  await server.request.open(connected("e-1") + block("old", { id: "e-2" }));
  room.value = "b";
  await nextTick();
  await settle();
  assert.ok(server.requests[0].signal.aborted);
  assert.equal(server.request.url.search, "?channel=b");
  assert.deepEqual(shown(sse), [false, "connecting", undefined, undefined]);
});

test("changed handlers need no other stream, and the latest are called", async (t) => {
  const heard = [];
  const options = reactive({ url: "/events", eventHandlers: {} });
  const { server } = await used(t, options);
  await server.request.open(connected("e-1"));
  options.eventHandlers = { message: (data) => heard.push(data) };
  await nextTick();
  await server.request.send(block("hello"));
  assert.deepEqual([heard, server.requests.length], [["hello"], 1]);
});

test("a handler of * gets each event once, whatever its type is", async (t) => {
  const heard = [];
  const eventHandlers = { "*": (data) => heard.push(data) };
  const { server } = await used(t, { url: "/events", eventHandlers });
  await server.request.open(block("a") + block("b", { type: "*" }));
  assert.deepEqual(heard.slice(0, 2), ["a", "b"]);
});

test("without a url nothing is opened", async (t) => {
  const url = ref(null);
  const { server, sse } = await used(t, () => ({ url: url.value }));
  assert.deepEqual([server.requests.length, sse.state.value], [0, "closed"]);
  url.value = "/events";
  await nextTick();
  await settle();
  assert.deepEqual([server.requests.length, sse.state.value], [1, "connecting"]);
});

test("a closed stream is resumed by reconnect", async (t) => {
  const { server, sse } = await used(t, { url: "/events" });
  await server.request.open(connected("e-1") + block("a", { id: "e-2" }));
  sse.closeConnection();
  assert.deepEqual(shown(sse).slice(0, 2), [false, "closed"]);
  sse.reconnect();
  await settle();
  assert.equal(server.request.headers.get("Last-Event-ID"), "e-2");
  assert.equal(sse.state.value, "connecting");
});

test("an end that the component does not show is in the console", async (t) => {
  for (const [reads, warned] of [
    [false, 1],
    [true, 0],
  ]) {
    const warn = t.mock.method(console, "warn", () => {});
    const { server, sse } = await used(t, { url: "/events" });
    if (reads) sse.error.value;
    await server.request.respond(403);
    assert.equal(warn.mock.callCount(), warned);
    warn.mock.restore();
  }
});

test("the handlers of connect() are refused", async (t) => {
  await assert.rejects(used(t, { on: {} }), /use eventHandlers/);
});

test("a server renders the component without a stream", async () => {
  delete globalThis.document;
  const server = new Server();
  const Inbox = {
    setup() {
      const { state } = useSSE({ url: "/events" });
      return () => h("p", state.value);
    },
  };
  assert.equal(await renderToString(createSSRApp(Inbox)), "<p>connecting</p>");
  assert.deepEqual(server.requests, []);
});
