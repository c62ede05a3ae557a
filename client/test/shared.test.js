import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNotShared } from "../src/shared.js";
import { Site } from "./parts/site.js";

// The lines that a developer reads in the console of a page.
console.info = () => {};

/** Open a site with tabs. The first one leads. */
async function opened(count, options) {
  const site = new Site();
  await site.publish(3);
  for (let tabs = 0; tabs < count; tabs++) await site.open(options);
  return [site, ...site.members];
}

const texts = (...members) => members.map((member) => member.texts);

// One connection

test("all tabs have the events of one connection", async () => {
  const [site, ...tabs] = await opened(3);
  await site.publish(2);
  assert.deepEqual(texts(...tabs), Array(3).fill(["4", "5"]));
  assert.deepEqual([site.hub.requests, site.hub.connections], [1, 1]);
});

test("the first tab leads and the others follow", async () => {
  const [, ...tabs] = await opened(3);
  assert.deepEqual(
    tabs.map(({ role, state }) => [role, state]),
    [
      ["leader", "open"],
      ["follower", "open"],
      ["follower", "open"],
    ],
  );
});

test("each tab is greeted, and knows the client's id", async () => {
  const [, ...tabs] = await opened(2);
  for (const { got, connection } of tabs) {
    assert.deepEqual([got[0].type, connection.clientId], ["connected", "c1"]);
  }
});

test("channels in another order are one stream, others have their own", async () => {
  const site = new Site();
  const url = (query) => `https://example.org/events?${query}`;
  await site.open({ url: url("channel=a&channel=b") });
  const same = await site.open({ url: url("channel=b&channel=a") });
  const other = await site.open({ url: url("channel=c") });
  assert.deepEqual([same.role, other.role], ["follower", "leader"]);
  assert.deepEqual(other.connection.sharing.apart, [url("channel=a&channel=b")]);
});

test("the console names other streams, which may be those of this page", async (t) => {
  const { mock } = t.mock.method(console, "info", () => {});
  const site = new Site();
  await site.open({ url: "https://example.org/events?channel=a" });
  await site.open({ url: "https://example.org/events?channel=b" });
  assert.deepEqual(mock.calls.at(-1).arguments, [
    "sse-hub: this page or another tab has other streams:" +
      " https://example.org/events?channel=a",
  ]);
});

test("the form of headers does not matter, their values do", async () => {
  const site = new Site();
  const [object, headers, other] = [
    await site.open({ headers: { "X-Own": "1" } }),
    await site.open({ headers: new Headers({ "x-own": "1" }) }),
    await site.open({ headers: new Headers({ "x-own": "2" }) }),
  ];
  assert.deepEqual(
    [object.role, headers.role, other.role],
    ["leader", "follower", "leader"],
  );
});

test("a page may say the same user as a number or as text", async () => {
  const site = new Site();
  const [number, text] = [await site.open({ userId: 7 }), await site.open({ userId: "7" })];
  assert.deepEqual([number.role, text.role], ["leader", "follower"]);
});

test("who logged in as somebody else has no part in an older stream", async () => {
  const site = new Site();
  const alice = await site.open({ userId: "alice" });
  const bob = await site.open({ userId: "bob" });
  assert.deepEqual([alice.role, bob.role], ["leader", "leader"]);
});

test("headers decide who shares, and no script of the site can read them", async () => {
  const site = new Site();
  const roles = [];
  for (const token of ["s3cret", "another", "s3cret"]) {
    const headers = { Authorization: `Bearer ${token}` };
    roles.push((await site.open({ headers })).role);
  }
  assert.deepEqual(roles, ["leader", "leader", "follower"]);
  const { held } = await navigator.locks.query();
  assert.equal(held.length, 2);
  for (const { name } of held) assert.doesNotMatch(name, /s3cret|another|Bearer/);
});

test("a tab cannot change the channels of all tabs", async () => {
  const { connection } = await new Site().open();
  assert.throws(() => connection.listen(), { message: "tabs share it" });
});

for (const options of [{ method: "POST" }, { body: "x" }]) {
  test(`a request with ${Object.keys(options)} is not shared`, () => {
    new Site();
    assert.match(whyNotShared(options), /GET/);
  });
}

test("a page without Web Locks or without an origin does not share", () => {
  new Site();
  assert.equal(whyNotShared({}), null);
  globalThis.origin = "null";
  assert.match(whyNotShared({}), /HTTPS/);
});

test("a ticket is shared only with who is known to have one for the same user", () => {
  new Site();
  const ticket = () => "t";
  assert.match(whyNotShared({ ticket }), /userId/);
  assert.equal(whyNotShared({ ticket, userId: "ann" }), null);
});

// Coming late

test("who comes late has what came after its cursor, and nothing else", async () => {
  const [site, leader] = await opened(1);
  await site.publish(3);
  const cursors = leader.got.filter(({ type }) => type === "message").map(({ id }) => id);
  const late = await site.open({ lastEventId: cursors[0] });
  const now = await site.open();
  await site.publish();
  assert.deepEqual(texts(late, now), [["5", "6", "7"], ["7"]]);
  assert.equal(site.hub.requests, 1);
});

test("who is ahead of the leader is given nothing twice", async () => {
  const [site, leader, other] = await opened(2);
  site.hub.publish();
  // The page was rendered while the event was on its way to the leader.
  const ahead = await site.join({ lastEventId: site.hub.newest });
  await site.browser.deliverAll();
  await site.publish();
  assert.deepEqual(texts(leader, other, ahead), [["4", "5"], ["4", "5"], ["5"]]);
});

test("who reaches back further than the leader leads itself", async () => {
  const [site, leader, other] = await opened(2);
  const behind = await site.open({ lastEventId: site.hub.log[0].id });
  await site.publish();
  assert.deepEqual([leader.role, behind.role], ["follower", "leader"]);
  assert.deepEqual(texts(leader, other, behind), [["4"], ["4"], ["1", "2", "3", "4"]]);
  assert.equal(site.hub.connections, 1);
});

test("an old ping that arrives once more takes nobody back", async () => {
  const [site, leader] = await opened(1);
  await site.publish();
  const late = await site.join({ lastEventId: site.hub.newest });
  // They arrive twice: passed on to all tabs, and in the answer to the tab that joined.
  site.hub.publish();
  site.hub.ping();
  site.hub.ping();
  site.hub.publish();
  const { browser } = site;
  await browser.deliverAll(
    (ready) => ready.find(({ tab }) => tab === late.tab) ?? ready[0],
  );
  const network = (ready) => ready.find(({ items }) => items.length > 1) ?? ready[0];
  await browser.deliverAll(network);
  assert.deepEqual(texts(leader, late), [
    ["4", "5", "6"],
    ["5", "6"],
  ]);
});

// Epochs

test("what a cursor that cannot be compared has missed is for the server to say", async () => {
  const [site, leader, other] = await opened(2);
  const stranger = await site.open({ lastEventId: "another-7" });
  await site.publish();
  assert.deepEqual(texts(leader, other, stranger), [["4"], ["4"], ["reset", "4"]]);
  assert.equal(stranger.role, "leader");
});

test("a lost log is a reset for all, once", async () => {
  const [site, ...tabs] = await opened(3);
  await site.publish();
  site.hub.restart({ tells: true });
  await site.publish();
  const lost = ["4", "reset", site.hub.log.at(-1).text];
  assert.deepEqual(texts(...tabs), [lost, lost, lost]);
});

test("a leader that slept through a new epoch does not turn the order round", async () => {
  const [site, leader, other] = await opened(2);
  leader.tab.isFrozen = true;
  site.hub.restart();
  await site.pass(60);
  assert.equal(other.role, "leader");
  const late = await site.join({ lastEventId: site.hub.newest });
  await leader.tab.thaw();
  // It hears of the new tab before it hears that it is no longer the leader.
  const { browser } = site;
  const question = browser.ready.findLast(({ tab }) => tab === leader.tab);
  while (question.items.length) await browser.deliver(question);
  await browser.deliverAll();
  await site.publish(3);
  await site.publish();
  assert.equal(late.texts.at(-1), other.texts.at(-1));
  assert.equal(late.connection.lastEventId, site.hub.newest);
});

// Handing over

test("when the leader is closed another one leads, and nothing is lost", async () => {
  const [site, leader, ...others] = await opened(3);
  site.hub.publish();
  await site.leave(leader);
  await site.publish();
  assert.deepEqual(texts(...others), [
    ["4", "5"],
    ["4", "5"],
  ]);
  assert.deepEqual(others.map(({ role }) => role).sort(), ["follower", "leader"]);
  assert.equal(site.hub.connections, 1);
});

test("to the others a new leader is not a new stream", async () => {
  const [site, leader, , follower] = await opened(3);
  follower.states = [];
  await site.leave(leader);
  await site.publish();
  assert.ok(!follower.states.includes("connecting"));
  assert.equal(follower.state, "open");
});

test("a leader that is frozen is replaced, and follows when it wakes up", async () => {
  const [site, leader, other] = await opened(2);
  leader.tab.isFrozen = true;
  site.hub.publish();
  await site.pass(60);
  assert.deepEqual([other.role, other.state, other.texts], ["leader", "open", ["4"]]);
  await leader.tab.thaw();
  await site.browser.deliverAll();
  await site.publish();
  assert.deepEqual([leader.role, leader.state], ["follower", "open"]);
  assert.deepEqual(texts(leader, other), [
    ["4", "5"],
    ["4", "5"],
  ]);
  assert.equal(site.hub.connections, 1);
});

test("a leader that is awake and has nothing to say is left in peace", async () => {
  const [site, leader, other] = await opened(2);
  for (let times = 0; times < 20; times++) {
    site.hub.ping();
    await site.pass(15);
  }
  assert.deepEqual([leader.role, other.role, site.hub.requests], ["leader", "follower", 1]);
});

test("a tab that misses an event asks for it", async () => {
  const [site, leader, other] = await opened(2);
  const { postMessage } = BroadcastChannel.prototype;
  Object.getPrototypeOf(BroadcastChannel.prototype).postMessage = () => {};
  await site.publish();
  Object.getPrototypeOf(BroadcastChannel.prototype).postMessage = postMessage;
  assert.deepEqual(texts(leader, other), [["4"], []]);
  await site.publish();
  assert.deepEqual(other.texts, ["4", "5"]);
});

// Errors

test("a refusal closes all, and a new tab revives them", async () => {
  const [site, ...tabs] = await opened(2);
  site.hub.refusals = [401];
  site.hub.cut();
  await site.pass(10);
  assert.deepEqual(
    tabs.map(({ state }) => state),
    Array(2).fill("closed unauthorized"),
  );
  const third = await site.open();
  await site.publish();
  assert.deepEqual(
    [...tabs, third].map(({ state, texts }) => [state, texts]),
    Array(3).fill(["open", ["4"]]),
  );
});

test("a new tab is not told that the stream which it revives was closed", async () => {
  const [site] = await opened(1);
  site.hub.refusals = [401];
  site.hub.cut();
  await site.pass(10);
  const second = await site.open();
  assert.ok(!second.states.some((state) => state.startsWith("closed")));
});

test("any tab can have the connection made anew", async () => {
  const [site, leader, other] = await opened(2);
  await other.run((connection) => connection.start());
  await site.browser.deliverAll();
  assert.deepEqual([site.hub.requests, site.hub.connections], [2, 1]);
  assert.deepEqual([leader.state, other.state], ["open", "open"]);
});

test("who joins while the connection is down is not told that it is open", async () => {
  const [site] = await opened(1);
  site.hub.refusals = [503];
  site.hub.cut();
  await site.browser.deliverAll();
  await site.browser.clock.advance(3);
  await site.browser.deliverAll();
  const second = await site.open();
  assert.equal(second.state, "reconnecting unavailable");
});

test("who is told by a leader that slept is put right by the next event", async () => {
  const [site, leader, ...others] = await opened(3);
  leader.tab.isFrozen = true;
  await site.pass(60);
  await leader.tab.thaw();
  await site.browser.deliverAll();
  await site.publish();
  for (const { states } of others) assert.equal(states.at(-1), "open");
  assert.ok(others.some(({ states }) => states.includes("reconnecting silent")));
});

test("who has left hears and says nothing more", async () => {
  const [site, leader, other] = await opened(2);
  await other.run((connection) => connection.stop());
  await site.publish();
  assert.deepEqual(texts(leader, other), [["4"], []]);
  assert.equal(site.browser.channels.size, 2);
  await leader.run((connection) => connection.stop());
  assert.deepEqual([site.browser.channels.size, site.browser.clock.pending], [0, 0]);
});

// Bounds

test("a leader keeps a thousand events, and who needs more leads itself", async () => {
  const [site, leader] = await opened(1);
  const [, , , start] = site.hub.log.map(({ id }) => id);
  await site.publish(1001);
  const second = await site.open({ lastEventId: site.hub.log[4].id });
  assert.deepEqual([leader.role, second.texts.length], ["leader", 1000]);
  const third = await site.open({ lastEventId: start });
  assert.deepEqual([third.role, third.texts.length], ["leader", 1001]);
});

test("a leader keeps a million characters", async () => {
  const [site, leader] = await opened(1);
  const large = "x".repeat(2 ** 18);
  const [, , , start, ...after] = await published(site, large, 5);
  const second = await site.open({ lastEventId: after[0] });
  assert.deepEqual([leader.role, second.texts.length], ["leader", 4]);
  const third = await site.open({ lastEventId: start });
  assert.deepEqual([third.role, third.texts.length], ["leader", 5]);
});

/** Publish large events, and return their ids. */
async function published(site, text, count) {
  for (; count; count--) site.hub.publish(text);
  await site.browser.deliverAll();
  return site.hub.log.map(({ id }) => id);
}
