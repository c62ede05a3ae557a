import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/index.js";
import { addressOf } from "../src/shared.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server } from "./parts/server.js";

/** Return the request that connect() sends for these arguments. */
async function requestOf(t, dataset, ...args) {
  new Clock();
  const page = new Page();
  page.dataset = dataset;
  const server = new Server();
  const stream = connect(...args);
  t.after(() => stream.close());
  await settle();
  return server.request;
}

const asked = ({ url, headers }) => [url.href, headers.get("Last-Event-ID")];

test("an address is the page's own, or relative to it", async (t) => {
  for (const [url, wanted] of [
    ["/events?channel=a", "https://example.org/events?channel=a"],
    ["sse", "https://example.org/app/sse"],
    ["https://other.example/x", "https://other.example/x"],
    [new URL("https://other.example/y"), "https://other.example/y"],
  ]) {
    assert.equal((await requestOf(t, undefined, url)).url.href, wanted);
  }
});

test("without an address it is what the server wrote into the page", async (t) => {
  const written = { url: "/sse?channel=a", clientId: "c7", lastEventId: "e-3" };
  const request = await requestOf(t, written);
  assert.deepEqual(asked(request), [
    "https://example.org/sse?channel=a&client_id=c7",
    "e-3",
  ]);
});

test("without anything it is /events", async (t) => {
  const request = await requestOf(t, undefined);
  assert.deepEqual(asked(request), ["https://example.org/events", null]);
});

test("what was written for one address is not used for another", async (t) => {
  const request = await requestOf(t, { clientId: "c7", lastEventId: "e-3" }, "/other");
  assert.deepEqual(asked(request), ["https://example.org/other", null]);
});

test("client and cursor are taken out of an address, and used", async (t) => {
  const url = "/events?channel=a&client_id=c7&last_event_id=e-3";
  const request = await requestOf(t, undefined, url);
  assert.deepEqual(asked(request), [
    "https://example.org/events?channel=a&client_id=c7",
    "e-3",
  ]);
});

test("the address may be left out before the options", async (t) => {
  const request = await requestOf(t, { url: "/page" }, { lastEventId: "e-4" });
  assert.deepEqual(asked(request), ["https://example.org/page", "e-4"]);
});

test("options count more than the address", async (t) => {
  const url = "/events?client_id=c7&last_event_id=e-3";
  const options = { clientId: "c8", lastEventId: "e-4" };
  const request = await requestOf(t, undefined, url, options);
  assert.deepEqual(asked(request), ["https://example.org/events?client_id=c8", "e-4"]);
});

test("an address that is given as a URL is left as it is", async (t) => {
  const url = new URL("https://example.org/events?client_id=c7");
  await requestOf(t, undefined, url);
  assert.equal(url.href, "https://example.org/events?client_id=c7");
});

const same = (...urls) => new Set(urls.map((url) => addressOf(new URL(url)))).size === 1;

test("channels in another order, and twice, are one stream", () => {
  assert.ok(
    same(
      "https://a.example/events?channel=a&channel=b",
      "https://a.example/events?channel=b&channel=a",
      "https://a.example/events?channel=b&channel=a&channel=b#here",
    ),
  );
});

test("other channels, paths and origins are other streams", () => {
  const url = "https://a.example/events?channel=a";
  for (const other of [
    "https://a.example/events?channel=b",
    "https://a.example/events",
    "https://a.example/sse?channel=a",
    "http://a.example/events?channel=a",
  ]) {
    assert.ok(!same(url, other), other);
  }
});
