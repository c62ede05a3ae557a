import assert from "node:assert/strict";
import { test } from "node:test";
import { delayAfter } from "../src/backoff.js";

const CHANCES = [0, 0.3, 0.999];

test("an answered stream that ends is asked for again after its retry", () => {
  for (const chance of CHANCES) {
    assert.equal(delayAfter({ retry: 3, failures: 0, chance }), 3);
  }
});

test("no delay is shorter than the server's retry", () => {
  for (const retry of [0, 0.2, 3, 31, 600]) {
    for (let failures = 0; failures < 2000; failures += 7) {
      for (const chance of CHANCES) {
        assert.ok(delayAfter({ retry, failures, chance }) >= retry);
      }
    }
  }
});

test("the delay doubles with each failure up to half a minute", () => {
  const delays = [1, 2, 3, 4, 5, 1000].map((failures) =>
    delayAfter({ retry: 3, failures, chance: 1 }),
  );
  assert.deepEqual(delays, [6, 12, 24, 30, 30, 30]);
});

test("by chance it is up to half as long", () => {
  assert.equal(delayAfter({ retry: 1, failures: 3, chance: 0 }), 4);
  assert.equal(delayAfter({ retry: 1, failures: 3, chance: 1 }), 8);
});

test("a retry of almost nothing is half a second, or clients would storm", () => {
  for (const retry of [0, 0.001, 0.09]) {
    assert.equal(delayAfter({ retry, failures: 0, chance: 0 }), 0.5);
    assert.equal(delayAfter({ retry, failures: 1, chance: 0 }), 0.5);
  }
  assert.equal(delayAfter({ retry: 0.1, failures: 0, chance: 0 }), 0.1);
});

test("a retry above half a minute is kept", () => {
  assert.equal(delayAfter({ retry: 100, failures: 5, chance: 1 }), 100);
});

test("Retry-After is spread upwards only", () => {
  const delay = (chance) => delayAfter({ retry: 3, failures: 1, retryAfter: 60, chance });
  assert.equal(delay(0), 60);
  assert.equal(delay(1), 90);
});

test("a Retry-After that is shorter than the delay changes nothing", () => {
  assert.equal(delayAfter({ retry: 3, failures: 1, retryAfter: 1, chance: 1 }), 6);
  assert.equal(delayAfter({ retry: 3, failures: 1, retryAfter: 0, chance: 1 }), 6);
});

test("a delay is never so long that a timer would fire at once", () => {
  const retryAfter = 10 ** 12;
  const delay = delayAfter({ retry: 3, failures: 1, retryAfter, chance: 1 });
  assert.ok(delay * 1000 < 2 ** 31);
});
