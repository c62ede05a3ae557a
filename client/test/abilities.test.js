// Abilities of a browser that are absent, denied, or there and do nothing. The stream is
// then one of its own, which says why.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/index.js";
// A stream loads it when it is shared. That takes real time the first time.
import "../src/shared.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server, block, connected } from "./parts/server.js";

// The lines that a developer reads in the console of a page.
console.info = () => {};

const denied = () => {
  throw new DOMException("The operation is insecure.", "SecurityError");
};

/** Locks that are given at once, and channels on which nobody else is. */
function browser() {
  const locks = {
    request: async (name, how, callback) => callback({ name }),
    query: async () => ({ held: [] }),
  };
  return {
    origin: "https://example.org",
    navigator: { locks },
    BroadcastChannel: class {
      postMessage() {}
      close() {}
    },
  };
}

const never = () => new Promise(() => {});

/** What is changed of a browser. Each change is tried with a stream of its own. */
const CHANGES = {
  "BroadcastChannel is absent": { BroadcastChannel: undefined },
  "BroadcastChannel throws": { BroadcastChannel: denied },
  "BroadcastChannel cannot send": {
    BroadcastChannel: class {
      postMessage = denied;
      close() {}
    },
    shares: true,
  },
  "navigator is absent": { navigator: undefined },
  "locks are absent": { navigator: {} },
  "locks throw when they are looked at": {
    navigator: Object.defineProperty({}, "locks", { get: denied }),
  },
  "locks throw when they are asked": { navigator: { locks: { request: denied } } },
  "locks refuse": { navigator: { locks: { request: async () => denied() } } },
  "locks are given to nobody": { navigator: { locks: { request: never, query: never } } },
  "document is absent": { document: undefined, shares: true },
  "storage is denied": {
    localStorage: new Proxy({}, { get: denied }),
    sessionStorage: new Proxy({}, { get: denied }),
    shares: true,
  },
  "service workers are denied": {
    navigator: Object.defineProperty(browser().navigator, "serviceWorker", { get: denied }),
    shares: true,
  },
  "the others' locks are not told": {
    navigator: { locks: { ...browser().navigator.locks, query: denied } },
    shares: true,
  },
};

for (const [name, { shares = false, ...change }] of Object.entries(CHANGES)) {
  test(`the stream is open although ${name}`, async (t) => {
    const clock = new Clock();
    new Page();
    const server = new Server();
    for (const [ability, value] of Object.entries({ ...browser(), ...change }))
      Object.defineProperty(globalThis, ability, {
        value,
        configurable: true,
        writable: true,
      });
    const heard = [];
    const on = { message: (data) => heard.push(data) };
    const stream = connect("https://example.org/events", { shared: true, on });
    t.after(() => stream.close());
    await clock.advance(20);
    assert.equal(server.requests.length, 1);
    await server.request.open(connected("e-1") + block("a"));
    assert.deepEqual([heard, stream.state], [["a"], "open"]);
    const { role, problem } = stream.sharing;
    assert.deepEqual([role, problem === null], [shares ? "leader" : "alone", shares]);
    // A loss is told as ever, and the stream comes back.
    await server.request.fail();
    assert.equal(stream.error.reason, "network");
    await clock.advance(10);
    await server.request.open(connected("e-1"));
    assert.equal(stream.state, "open");
  });
}

test("tabs that do not hear each other connect by themselves in the end", async (t) => {
  const { Site } = await import("./parts/site.js");
  const site = new Site();
  await site.publish(1);
  const { prototype } = Object.getPrototypeOf(BroadcastChannel);
  const { postMessage } = prototype;
  prototype.postMessage = () => {};
  const tabs = [await site.open(), await site.open()];
  await site.pass(60);
  const { requests } = site.hub;
  for (let times = 0; times < 20; times++) {
    site.hub.ping();
    await site.pass(15);
  }
  assert.equal(site.hub.requests, requests, "they take the lock from each other for ever");
  await site.publish(2);
  for (const tab of tabs) assert.equal(tab.connection.lastEventId, site.hub.newest);
  assert.deepEqual(tabs.map(({ role }) => role).sort(), ["alone", "leader"]);
  // They share again as soon as they hear each other.
  prototype.postMessage = postMessage;
  await site.publish(1);
  await site.pass(10);
  assert.deepEqual(tabs.map(({ role }) => role).sort(), ["follower", "leader"]);
  assert.equal(site.hub.connections, 1);
  for (const tab of tabs) await site.leave(tab);
});
