import assert from "node:assert/strict";
import { test } from "node:test";
import { Watchdog } from "../src/watchdog.js";
import { Clock } from "./parts/clock.js";

function watched() {
  const clock = new Clock();
  let silences = 0;
  const watchdog = new Watchdog(() => silences++);
  return { clock, watchdog, silences: () => silences };
}

test("silence is noticed within a fifth of the time", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  await clock.advance(10);
  assert.equal(silences(), 0);
  await clock.advance(2);
  assert.equal(silences(), 1);
});

test("a sign of life puts it off", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  for (let times = 0; times < 5; times++) {
    await clock.advance(9);
    watchdog.heard();
  }
  assert.equal(silences(), 0);
});

test("as long as it is silent each look tells so", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  await clock.advance(16);
  assert.equal(silences(), 3);
});

test("a look after a sleep notices at once", () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  clock.sleep(10.001);
  watchdog.check();
  assert.equal(silences(), 1);
});

test("a clock that is set back does not make silence last longer", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  clock.now -= 3_600_000;
  watchdog.check();
  clock.sleep(10.001);
  watchdog.check();
  assert.equal(silences(), 1);
});

test("who is stopped looks no more", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  watchdog.stop();
  await clock.advance(100);
  watchdog.check();
  assert.deepEqual([silences(), clock.pending], [0, 0]);
});

test("who expects nothing sets no timer", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  watchdog.expect(Infinity);
  clock.sleep(10 ** 9);
  watchdog.check();
  assert.deepEqual([silences(), clock.pending], [0, 0]);
});

test("what is expected anew begins anew", async () => {
  const { clock, watchdog, silences } = watched();
  watchdog.expect(10);
  await clock.advance(9);
  watchdog.expect(10);
  await clock.advance(9);
  assert.deepEqual([silences(), clock.pending], [0, 1]);
});
