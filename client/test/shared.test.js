import assert from "node:assert/strict";
import { test } from "node:test";
import { whyNotShared } from "../src/shared.js";
import { block } from "./parts/server.js";
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

test("the console names other streams, which may be those of this page", async (t) => {
  const { mock } = t.mock.method(console, "info", () => {});
  const site = new Site();
  await site.open({ url: "https://example.org/events?topic=a&channel=a" });
  const { connection } = await site.open({ url: "https://example.org/events?topic=b" });
  const apart = "https://example.org/events?topic=a";
  assert.deepEqual(connection.sharing.apart, [apart]);
  assert.deepEqual(mock.calls.at(-1).arguments, [
    `sse-hub: this page or another tab has other streams: ${apart}`,
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

// Different channels

const url = (...channels) =>
  `https://example.org/events?${channels.map((name) => `channel=${name}`).join("&")}`;

/** Open a tab for each list of channels, with something in the log. */
async function listening(...lists) {
  const site = new Site();
  await site.publish();
  for (const channels of lists) await site.open({ url: url(...channels) });
  return [site, ...site.members];
}

/** Publish the name of each event's channels as its text. */
async function tell(site, ...targets) {
  for (const to of targets) site.hub.publish(String(to), to);
  await site.browser.deliverAll();
}

const channelsOf = ({ hub }) => [...hub.streams].map(({ channels }) => channels);

test("tabs with other channels share the connection, and show their own events", async () => {
  const [site, first, second, none, pattern] = await listening(
    ["a", "b"],
    ["b", "c"],
    [],
    ["o.*"],
  );
  await tell(site, ["a"], ["b"], ["c"], ["a", "c"], undefined, ["x"], ["o.7", "b"]);
  assert.deepEqual(texts(first, second, none, pattern), [
    ["a", "b", "a,c", "undefined", "o.7,b"],
    ["b", "c", "a,c", "undefined", "o.7,b"],
    ["undefined"],
    ["undefined", "o.7,b"],
  ]);
  assert.deepEqual(channelsOf(site), [["a", "b", "c", "o.*"]]);
  // An event has a channel for the page if the stream has only one for it.
  assert.deepEqual(
    first.got.filter(({ type }) => type === "message").map(({ channel }) => channel),
    ["a", "b", undefined, undefined, undefined],
  );
});

test("channels in another order are the same", async () => {
  const [site, , same] = await listening(["a", "b"], ["b", "a", "b"]);
  assert.deepEqual([same.role, site.hub.requests], ["follower", 1]);
});

test("a tab with further channels makes one new connection", async () => {
  const [site, old] = await listening(["a"]);
  // The head of the log is later than the leader's last event.
  site.hub.publishToOthers();
  const late = await site.open({ url: url("b") });
  assert.equal(site.hub.requests, 2);
  site.hub.publishToOthers();
  const newest = await site.open({ url: url("c"), lastEventId: site.hub.newest });
  assert.equal(site.hub.requests, 3);
  await tell(site, ["a"], ["b"], ["c"]);
  assert.deepEqual(texts(old, late, newest), [["a"], ["b"], ["c"]]);
});

test("a tab with some of the channels opens no connection", async () => {
  const [site, , some] = await listening(["a", "b"], ["b"]);
  await tell(site, ["a"], ["b"]);
  assert.deepEqual([texts(some), site.hub.requests], [[["b"]], 1]);
});

test("the page hears of its own channels only", async () => {
  const [site, first, second] = await listening(["a"], ["b"]);
  site.hub.added = ["own"];
  site.hub.cut();
  await site.pass(20);
  const greeted = (member) => {
    const { text } = member.got.findLast(({ type }) => type === "connected");
    return JSON.parse(text).channels;
  };
  assert.deepEqual([first, second].map(greeted), [
    ["a", "own"],
    ["b", "own"],
  ]);
  for (const { write } of site.hub.streams) {
    for (const channel of ["a", "b", "own"])
      write(block({ channel }, { type: "presence", id: site.hub.newest }));
  }
  await tell(site, ["a"], ["own"]);
  assert.deepEqual(texts(first, second), [["a", "own"], ["own"]]);
  const people = ({ got }) =>
    got
      .filter(({ type }) => type === "presence")
      .map(({ text }) => JSON.parse(text).channel);
  assert.deepEqual([first, second].map(people), [
    ["a", "own"],
    ["b", "own"],
  ]);
});

test("a channel that no tab wants any more is left after a while", async () => {
  const [site, first, second, third] = await listening(["a"], ["b"], ["c"]);
  await site.leave(second);
  for (let times = 0; times < 4; times++) {
    site.hub.ping();
    await site.pass(16);
  }
  assert.deepEqual(channelsOf(site), [["a", "c"]]);
  assert.equal(site.hub.requests, 4);
  await tell(site, ["a"], ["b"], ["c"]);
  assert.deepEqual(texts(first, third), [["a"], ["c"]]);
});

test("when the leader is closed, the next one has the channels of all", async () => {
  const [site, ...tabs] = await listening(["a"], ["b"], ["c"]);
  const leader = tabs.find(({ role }) => role === "leader");
  await site.leave(leader);
  await tell(site, ["a"], ["b"], ["c"]);
  const rest = tabs.filter((each) => each !== leader);
  assert.deepEqual(
    texts(...rest),
    rest.map(({ channels }) => channels),
  );
  assert.equal(site.hub.requests, 4);
});

test("a refused channel closes its own tab alone", async () => {
  const [site, first, second] = await listening(["a"], ["b"]);
  site.hub.forbidden = ["typo"];
  const third = await site.open({ url: url("typo") });
  await site.pass(5);
  assert.deepEqual(
    [first, second, third].map(({ state }) => state),
    ["open", "open", "closed forbidden"],
  );
  assert.deepEqual(
    [first, second].map(({ role }) => role),
    ["leader", "leader"],
  );
  // After the refusal, each of the three asks for its own channels. The next leader may ask
  // before it hears of the refusal.
  assert.ok(site.hub.requests <= 7);
  await tell(site, ["a"], ["b"]);
  assert.deepEqual(texts(first, second), [["a"], ["b"]]);
});

test("a channel that is refused later closes its own tabs alone", async () => {
  const [site, first, second] = await listening(["a"], ["b"]);
  site.hub.forbidden = ["b"];
  site.hub.cut();
  await site.pass(20);
  assert.deepEqual([first.state, second.state], ["open", "closed forbidden"]);
  await tell(site, ["a"]);
  assert.deepEqual(texts(first), [["a"]]);
});

test("a page may close its stream when the tabs part", async () => {
  const [site, first] = await listening(["a"], ["b"]);
  site.hub.forbidden = ["b"];
  let isClosed = false;
  first.onState = (connection) => {
    if (site.hub.requests < 3 || isClosed) return;
    isClosed = true;
    connection.stop();
  };
  site.hub.cut();
  await site.pass(20);
  assert.equal(site.hub.connections, 0);
});

for (const [server, change] of [
  ["does not name channels", { names: false }],
  ["has other channels than those in the URL", { renames: true }],
])
  test(`tabs share with equal ones only if the server ${server}`, async () => {
    const site = new Site();
    Object.assign(site.hub, change);
    await site.publish();
    for (const name of ["a", "a", "b", "b"]) await site.open({ url: url(name) });
    await site.pass(20);
    assert.equal(site.hub.connections, 2);
    await tell(site, ["a"], ["b"], ["a", "b"]);
    const own = (name) => (change.renames ? [] : [name, "a,b"]);
    assert.deepEqual(texts(...site.members), ["a", "a", "b", "b"].map(own));
  });

test("a tab loses nothing because another tab's position is out of history", async () => {
  const [site, old] = await listening(["a"]);
  for (let times = 0; times < 3; times++) site.hub.publishToOthers();
  const { newest } = site.hub;
  await tell(site, ["b"]);
  site.hub.forget(site.hub.place(newest));
  const late = await site.open({ url: url("b"), lastEventId: newest });
  await tell(site, ["b"], ["a"]);
  await site.pass(20);
  assert.deepEqual(texts(late, old), [
    ["b", "b"],
    ["reset", "a"],
  ]);
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
