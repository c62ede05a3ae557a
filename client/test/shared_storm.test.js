// Tabs open, close, sleep and crash in random order while a hub streams.
//
// To repeat a single run that failed, set SEED=n.

import assert from "node:assert/strict";
import { test } from "node:test";
import { settle } from "./parts/clock.js";
import { Site } from "./parts/site.js";

const RUNS = 150;
const STEPS = 120;
const MOST_TABS = 6;

/** Return a random generator that repeats itself for the same seed (mulberry32). */
function chanceOf(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  next.below = (count) => Math.floor(next() * count);
  next.of = (things) => things[next.below(things.length)];
  return next;
}

/** A site that delivers in random order. */
class Storm extends Site {
  #chance;

  constructor(chance) {
    super();
    this.#chance = chance;
    // The connections take their delays and the names of their tabs from it too.
    Math.random = chance;
  }

  get awake() {
    return this.members.filter(({ tab }) => !tab.isGone && !tab.isFrozen);
  }

  get asleep() {
    return this.members.filter(({ tab }) => !tab.isGone && tab.isFrozen);
  }

  deliver() {
    const { ready } = this.browser;
    return ready.length ? this.browser.deliver(this.#chance.of(ready)) : settle();
  }

  /** Let everything come to rest: wake all tabs, and let time pass. */
  async calm() {
    for (const { tab } of this.asleep) await tab.thaw();
    this.hub.refusals = [];
    for (let times = 0; times < 12; times++) {
      this.hub.publish();
      if (times % 2) this.hub.ping();
      await this.browser.deliverAll((ready) => this.#chance.of(ready));
      await this.browser.clock.advance(7);
    }
    await this.browser.deliverAll((ready) => this.#chance.of(ready));
  }

  /** Check that a tab has received the events that it should have. */
  check({ tab, cursor, got, connection, state }, { mayReset }) {
    let at = cursor === "" ? undefined : this.hub.place(cursor);
    for (const { type, text, id } of got) {
      const place = this.hub.place(id);
      if (type === "reset") {
        assert.ok(mayReset, `${tab.name} was reset, though nothing was lost`);
        at = place;
      } else if (type === "message") {
        assert.equal(this.hub.log[place].text, text);
        at ??= place - 1;
        const missed = this.hub.log.slice(at + 1, place).filter((each) => each.text);
        assert.ok(place > at, `${tab.name} was given ${id} twice or late`);
        assert.deepEqual(missed, [], `${tab.name} was not given what is before ${id}`);
        at = place;
      }
    }
    assert.equal(at, this.hub.log.length - 1, `${tab.name} is behind`);
    assert.equal(connection.lastEventId, this.hub.newest);
    assert.equal(state, "open", tab.name);
  }
}

/** The possible steps, each with its weight. */
const HAPPENINGS = {
  deliver: [60, (storm) => storm.deliver()],
  publish: [12, ({ hub }) => hub.publish()],
  publishToOthers: [3, ({ hub }) => hub.publishToOthers()],
  ping: [4, ({ hub }) => hub.ping()],
  cut: [2, ({ hub }, chance) => hub.cut({ hard: chance() < 0.5 })],
  refuse: [1, ({ hub }) => hub.refusals.push(503)],
  pass: [5, ({ browser }, chance) => browser.clock.advance(chance() * 4)],
  passLong: [1, ({ browser }, chance) => browser.clock.advance(chance() * 60)],
  join: [
    4,
    async (storm, chance) => {
      if (storm.awake.length + storm.asleep.length >= MOST_TABS) return;
      const { log, newest } = storm.hub;
      const lastEventId = chance.of(["", newest, newest, chance.of(log).id]);
      await storm.join({ lastEventId });
    },
  ],
  leave: [
    2,
    async (storm, chance) => {
      if (storm.awake.length > 1) await storm.leave(chance.of(storm.awake));
    },
  ],
  crash: [
    2,
    async (storm, chance) => {
      if (storm.awake.length > 1) await storm.browser.crash(chance.of(storm.awake).tab);
    },
  ],
  freeze: [
    2,
    (storm, chance) => {
      if (storm.awake.length > 1) chance.of(storm.awake).tab.isFrozen = true;
    },
  ],
  thaw: [
    2,
    async (storm, chance) => {
      if (storm.asleep.length) await chance.of(storm.asleep).tab.thaw();
    },
  ],
  check: [
    1,
    (storm, chance) => {
      const { tab, connection } = chance.of(storm.awake);
      tab.run(() => connection.check());
    },
  ],
};

const LOSSES = {
  restart: [1, ({ hub }, chance) => hub.restart({ tells: chance() < 0.5 })],
  forget: [2, ({ hub }, chance) => hub.forget(chance.below(hub.log.length))],
};

async function run(seed, { losses }) {
  const chance = chanceOf(seed);
  const storm = new Storm(chance);
  const happenings = Object.values({ ...HAPPENINGS, ...(losses && LOSSES) });
  const drawn = happenings.flatMap(([weight, happen]) => Array(weight).fill(happen));
  for (let times = 0; times < 3; times++) storm.hub.publish();
  for (let tabs = 1 + chance.below(4); tabs; tabs--) {
    await storm.join({ lastEventId: storm.hub.newest });
  }
  for (let step = 0; step < STEPS; step++) {
    await chance.of(drawn)(storm, chance);
    await settle();
  }
  await storm.calm();
  for (const member of storm.awake) storm.check(member, { mayReset: losses });
  const leaders = storm.awake.filter((each) => each.role === "leader");
  assert.equal(leaders.length, 1);
  assert.equal(storm.hub.connections, 1);
  for (const member of storm.awake) await storm.leave(member);
}

const { SEED } = process.env;
const seeds = SEED ? [Number(SEED)] : Array.from({ length: RUNS }, (_, seed) => seed);

for (const losses of [false, true]) {
  const promise = losses
    ? "tabs have each event once and in order, or a reset, where the log is lost"
    : "tabs have each event after their cursors once and in order, and no reset";
  test(promise, async () => {
    for (const seed of seeds) {
      await run(seed, { losses }).catch((error) => {
        error.message = `SEED=${seed}: ${error.message}`;
        throw error;
      });
    }
  });
}
