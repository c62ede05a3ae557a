import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/index.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server, block, connected } from "./parts/server.js";

const person = (user, data = {}) => ({ user, since: 1, data });
const list = (...people) => ({ presence: { "room.7": { people, anonymous: 2 } } });
const told = (type, user, more) =>
  block(
    { type, channel: "room.7", user, since: 1, ...more },
    { type: "presence", id: "e-2" },
  );
const names = (people) => [...people.keys()];

/** Follow the people of a room, in a page with a stream. */
async function followed(options) {
  new Clock();
  new Page();
  const server = new Server();
  const stream = connect("/events?channel=room.7&presence=1");
  const people = stream.presence("room.7", options);
  await settle();
  return { server, stream, people };
}

test("the map follows the stream", async () => {
  const seen = [];
  const { server, people } = await followed({
    onChange: (people) => seen.push(names(people)),
  });
  assert.equal(people.isKnown, false);
  const { request } = server;
  await request.open(connected("e-1", list(person("ann", { name: "Ann" }))));
  assert.deepEqual([people.isKnown, people.anonymous], [true, 2]);
  assert.equal(people.get("ann").data.name, "Ann");
  // A change may be in the list already.
  await request.send(told("join", "bob", { data: {} }) + told("join", "bob", { data: {} }));
  await request.send(told("update", "bob", { data: { name: "Bob" } }));
  assert.deepEqual(people.get("bob"), person("bob", { name: "Bob" }));
  await request.send(told("leave", "ann") + told("leave", "nobody"));
  await request.send(told("join", "eve", { channel: "room.8" }));
  assert.deepEqual(names(people), ["bob"]);
  await request.send(block(list(person("cid")), { type: "reset", id: "e-9" }));
  assert.deepEqual(seen.at(-1), ["cid"]);
  await request.send(connected("e-9"));
  assert.deepEqual([seen.at(-1), people.isKnown], [[], false]);
});

test("handlers can be added and removed, and the map can be closed", async () => {
  const { server, people } = await followed();
  const seen = [];
  const forget = people.onChange((all) => seen.push(all.size));
  await server.request.open(connected("e-1", list(person("ann"))));
  forget();
  await server.request.send(told("leave", "ann"));
  assert.deepEqual([seen, people.size], [[1], 0]);
  people.close();
  await server.request.send(told("join", "bob", { data: {} }));
  assert.equal(people.size, 0);
});

const confirmed = (channels, more) =>
  block({ channels, ...more }, { type: "subscribed", id: "e-3" });

test("a stream that is open already asks for the list", async () => {
  const { server, stream } = await followed();
  await server.request.open(connected("e-1", list()));
  const people = stream.presence("room.7");
  await settle();
  const { url, init } = server.request;
  assert.deepEqual([url.pathname, init.method], ["/events/subscriptions", "POST"]);
  assert.deepEqual(JSON.parse(init.body), { client_id: "c1", subscribe: ["room.7"] });
  await server.request.respond(202);
  await server.requests[0].send(confirmed(["room.7"], list(person("ann"))));
  assert.deepEqual(names(people), ["ann"]);
  assert.equal(server.requests.length, 2);
});

test("a stream whose channels are fixed connects again for the list", async () => {
  const { server, stream } = await followed();
  await server.request.open(connected("e-1", list()));
  const people = stream.presence("room.7");
  await settle();
  await server.request.respond(404);
  assert.equal(server.requests.length, 3);
  await server.request.open(connected("e-1", list(person("ann"))));
  assert.deepEqual(names(people), ["ann"]);
  assert.equal(server.requests.length, 3);
});

test("a stream enters a channel and leaves it", async () => {
  const { server, stream, people } = await followed();
  const seen = [];
  const room = stream.presence("room.8", { onChange: (all) => seen.push(names(all)) });
  const people8 = { people: [person("bob")], anonymous: 0 };
  const inBoth = ["room.7", "room.8"];
  await server.requests[0].open(
    connected("e-1", { channels: ["room.7"], ...list(person("ann")) }),
  );
  await server.request.respond(202);
  assert.equal(room.isKnown, false);
  const presence8 = { presence: { "room.8": people8 } };
  await server.requests[0].send(confirmed(inBoth, presence8));
  await server.requests[0].send(told("join", "eve", { channel: "room.8", data: {} }));
  assert.deepEqual([names(people), names(room)], [["ann"], ["bob", "eve"]]);
  // A change of other channels.
  await server.requests[0].send(confirmed([...inBoth, "a"]));
  assert.deepEqual([names(room), room.isKnown], [["bob", "eve"], true]);
  const left = stream.unsubscribe("room.8");
  await server.request.respond(202);
  await left;
  await server.requests[0].send(confirmed(["room.7", "a"]));
  assert.deepEqual([names(people), names(room), room.isKnown], [["ann"], [], false]);
  assert.deepEqual(seen, [[], ["bob"], ["bob", "eve"], []]);
  // It does not enter again by itself.
  stream.reconnect();
  await settle();
  await server.request.open(connected("e-4", { channels: ["room.7", "a"], ...list() }));
  assert.equal(server.requests.length, 4);
});

test("a channel is asked for once if the server refuses it", async () => {
  for (const refuse of ["by the rule", "because there are too many"]) {
    const { server, stream } = await followed();
    const room = stream.presence("room.8");
    await server.requests[0].open(connected("e-1", { channels: ["room.7"], ...list() }));
    if (refuse === "by the rule") await server.request.respond(403);
    else {
      await server.request.respond(202);
      await server.requests[0].send(confirmed(["room.7"], { refused: ["room.8"] }));
    }
    stream.reconnect();
    await settle();
    await server.request.open(connected("e-1", { channels: ["room.7"], ...list() }));
    assert.deepEqual([server.requests.length, room.isKnown], [3, false]);
  }
});

test("a stream asks again if its connection breaks before the confirmation", async () => {
  const { server, stream } = await followed();
  stream.presence("room.8");
  for (const connections of [1, 3]) {
    await server.request.open(connected("e-1", { channels: ["room.7"], ...list() }));
    assert.equal(server.requests.length, connections + 1);
    await server.request.respond(202);
    stream.reconnect();
    await settle();
  }
});

test("a tab that shares a stream asks for a new list, once", async () => {
  const { server, stream } = await followed();
  // The greeting of a leader may be hours old.
  Object.defineProperty(stream, "sharing", { value: { role: "follower" } });
  await server.request.open(connected("e-1", list(person("old"))));
  await settle();
  assert.equal(server.requests.length, 2);
  await server.request.open(connected("e-1", list(person("ann"))));
  assert.equal(server.requests.length, 2);
});

test("mistakes are refused", async () => {
  const { stream, people } = await followed();
  assert.throws(() => stream.presence("room.7", { onchange() {} }), TypeError);
  assert.throws(() => stream.presence(7), TypeError);
  assert.throws(() => people.onChange("show"), TypeError);
});
