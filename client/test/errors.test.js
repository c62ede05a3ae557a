import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamError, errorOf, secondsOf } from "../src/errors.js";

const NOW = Date.UTC(2030, 0, 1);

const of = (status, headers = {}) =>
  errorOf({ status, headers: new Headers(headers) }, NOW);

const ENDINGS = [
  [204, "no-content", true],
  [400, "bad-request", true],
  [401, "unauthorized", true],
  [403, "forbidden", true],
  [404, "bad-request", true],
  [405, "bad-request", true],
  [410, "bad-request", true],
  [408, "busy", false],
  [425, "busy", false],
  [429, "busy", false],
  [500, "unavailable", false],
  [502, "unavailable", false],
  [503, "unavailable", false],
  [599, "unavailable", false],
];

for (const [status, reason, final] of ENDINGS) {
  test(`${status} is ${reason}, which ${final ? "ends a stream" : "passes"}`, async () => {
    const error = await of(status, { "Content-Type": "text/event-stream" });
    assert.ok(error instanceof StreamError);
    assert.deepEqual([error.reason, error.final], [reason, final]);
    assert.equal(error.status, status);
    assert.match(error.message, new RegExp(status));
  });
}

test("a stream is no error, whatever its charset", async () => {
  for (const type of ["text/event-stream", "text/event-stream; charset=utf-8"]) {
    assert.equal(await of(200, { "Content-Type": type }), null);
  }
});

test("200 with a page is not a stream, and ends it", async () => {
  for (const headers of [{}, { "Content-Type": "text/html" }]) {
    const error = await of(200, headers);
    assert.deepEqual([error.reason, error.final], ["not-a-stream", true]);
  }
});

test("Retry-After is taken from a refusal", async () => {
  assert.equal((await of(503, { "Retry-After": "7" })).retryAfter, 7);
  assert.equal((await of(503)).retryAfter, undefined);
});

const SECONDS = [
  ["0", 0],
  ["120", 120],
  [new Date(NOW + 90_000).toUTCString(), 90],
  [new Date(NOW).toUTCString(), 0],
  [new Date(NOW - 1000).toUTCString(), undefined],
  ["-5", undefined],
  ["1.5", undefined],
  ["soon", undefined],
  ["", undefined],
  [null, undefined],
];

for (const [text, seconds] of SECONDS) {
  test(`Retry-After: ${text} is ${seconds} seconds`, () => {
    assert.equal(secondsOf(text, NOW), seconds);
  });
}
