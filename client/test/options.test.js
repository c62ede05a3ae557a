import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/index.js";
import { Clock, settle } from "./parts/clock.js";
import { Page } from "./parts/page.js";
import { Server } from "./parts/server.js";

/** Call connect() in a page, and return the server that it asks. */
function connected(t, ...args) {
  new Clock();
  new Page();
  const server = new Server();
  const stream = connect(...args);
  t.after(() => stream.close());
  return { server, stream };
}

const GIVEN = "/events";

const MISTAKES = [
  ["a misspelt option", { share: true }, /no option "share".*shared/],
  ["an option of EventSource", { withCredentials: true }, /"withCredentials".*credentials/],
  ["an option of the hooks", { eventHandlers: {} }, /"eventHandlers".* on,/],
  ["a function in place of options", () => {}, /options must be of type object/],
  ["a ticket that is a text", { ticket: "abc" }, /ticket must be of type function/],
  ["one handler for all types", { on: () => {} }, /on must be of type object/],
  ["a handler that is none", { on: { story: "show" } }, /handler must be of type function/],
  ["a state handler that is none", { onState: true }, /handler must be of type function/],
  ["a reset handler that is none", { onReset: {} }, /handler must be of type function/],
  ["a plain object as body", { method: "POST", body: { a: 1 } }, /JSON.stringify/],
  ["a body without a method", { body: "{}" }, /body/],
  ["a header that cannot be sent", { headers: { "X Own": "1" } }, /X Own/i],
];

for (const [name, options, text] of MISTAKES) {
  test(`${name} is refused before any request`, (t) => {
    new Clock();
    new Page();
    const server = new Server();
    assert.throws(() => connect(GIVEN, options), text);
    assert.throws(() => connect(GIVEN, options), TypeError);
    assert.equal(server.requests.length, 0);
  });
}

test("a handler that is added later is checked too", (t) => {
  const { stream } = connected(t, GIVEN);
  assert.throws(() => stream.on("story"), /handler must be of type function/);
  assert.throws(() => stream.onState(), /handler must be of type function/);
});

test("all options that exist are accepted", async (t) => {
  const { server } = connected(t, GIVEN, {
    on: { story() {} },
    onState() {},
    onReset() {},
    lastEventId: "e-1",
    clientId: "c1",
    userId: 7,
    shared: false,
    pauseWhenHidden: 5,
    method: "POST",
    headers: {},
    body: "{}",
    credentials: "include",
    ticket: () => "t",
    heartbeat: 15,
  });
  await settle();
  assert.equal(server.request.url.searchParams.get("ticket"), "t");
});

test("values that the page does not have may be null or undefined", async (t) => {
  const nothing = { lastEventId: null, clientId: null, userId: null, ticket: null };
  const { server } = connected(t, null, { ...nothing, onState: undefined });
  await settle();
  assert.equal(server.request.url.href, "https://example.org/events");
});

for (const [name, headers] of [
  ["an object", { "X-Own": "yes", accept: "text/x-own" }],
  ["pairs", Object.entries({ "X-Own": "yes", Accept: "text/x-own" })],
  ["Headers", new Headers({ "X-Own": "yes", Accept: "text/x-own" })],
]) {
  test(`headers may be ${name}, and replace those of the client`, async (t) => {
    const { server } = connected(t, GIVEN, { headers });
    await settle();
    const sent = server.request.headers;
    assert.deepEqual(
      ["X-Own", "Accept", "Prefer"].map((each) => sent.get(each)),
      ["yes", "text/x-own", "sse-status"],
    );
  });
}
