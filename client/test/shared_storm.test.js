// Tabs open, close, sleep and crash in random order while a hub streams.
//
// To repeat a single run that failed, set SEED=n.

import assert from "node:assert/strict";
import { test } from "node:test";
import { settle } from "./parts/clock.js";
import { heard } from "./parts/hub.js";
import { Site } from "./parts/site.js";

const RUNS = 150;
const STEPS = 120;
const MOST_TABS = 6;
const PAGES = ["", "?channel=a", "?channel=b&channel=a", "?channel=o.7", "?channel=o.*"];
const TARGETS = [undefined, ["a"], ["b"], ["c"], ["o.7"], ["a", "o.8"], ["c", "b"]];

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
  #pages;

  /** Open a tab with one of the URLs of pages. */
  constructor(chance, pages) {
    super();
    this.#chance = chance;
    this.#pages = pages;
    // The connections take their delays and the names of their tabs from it too.
    Math.random = chance;
  }

  get awake() {
    return this.members.filter(({ tab }) => !tab.isGone && !tab.isFrozen);
  }

  get asleep() {
    return this.members.filter(({ tab }) => !tab.isGone && tab.isFrozen);
  }

  open(lastEventId) {
    const url = `https://example.org/events${this.#chance.of(this.#pages)}`;
    return this.join({ url, lastEventId });
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
  check({ tab, cursor, channels, got, connection, state }, { mayReset }) {
    const isFor = ({ text, to }) =>
      text !== undefined && (!to || to.some((name) => heard(name, channels)));
    let at = cursor === "" ? undefined : this.hub.place(cursor);
    for (const { type, text, id } of got) {
      const place = this.hub.place(id);
      if (type === "reset") {
        assert.ok(mayReset, `${tab.name} was reset, though nothing was lost`);
        at = place;
      } else if (type === "message") {
        assert.equal(this.hub.log[place].text, text);
        at ??= place - 1;
        assert.ok(isFor(this.hub.log[place]), `${tab.name} was given another's ${id}`);
        const missed = this.hub.log.slice(at + 1, place).filter(isFor);
        assert.ok(place > at, `${tab.name} was given ${id} twice or late`);
        assert.deepEqual(missed, [], `${tab.name} was not given what is before ${id}`);
        at = place;
      }
    }
    const missed = this.hub.log.slice(at + 1).filter(isFor);
    assert.deepEqual(missed, [], `${tab.name} is behind`);
    assert.equal(connection.lastEventId, this.hub.newest);
    assert.equal(state, "open", tab.name);
  }
}

/** The possible steps, each with its weight. */
const HAPPENINGS = {
  deliver: [60, (storm) => storm.deliver()],
  publish: [12, ({ hub }, chance) => hub.publish(undefined, chance.of(TARGETS))],
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
      await storm.open(lastEventId);
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

async function run(seed, { losses, pages }) {
  const chance = chanceOf(seed);
  const storm = new Storm(chance, pages);
  const happenings = Object.values({ ...HAPPENINGS, ...(losses && LOSSES) });
  const drawn = happenings.flatMap(([weight, happen]) => Array(weight).fill(happen));
  for (let times = 0; times < 3; times++) storm.hub.publish();
  for (let tabs = 1 + chance.below(4); tabs; tabs--) {
    await storm.open(storm.hub.newest);
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
  const { channels } = [...storm.hub.streams].find(({ tab }) => !tab.isGone);
  const wanted = new Set(storm.awake.flatMap((each) => each.channels));
  assert.deepEqual([...channels].sort(), [...wanted].sort(), "no tab wants the others");
  for (const member of storm.awake) await storm.leave(member);
}

const { SEED } = process.env;
const seeds = SEED ? [Number(SEED)] : Array.from({ length: RUNS }, (_, seed) => seed);

for (const [pages, kind] of [
  [[""], "tabs"],
  [PAGES, "tabs with different channels"],
])
  for (const losses of [false, true]) {
    const promise = losses
      ? `${kind} have each event once and in order, or a reset, where the log is lost`
      : `${kind} have each event after their cursors once and in order, and no reset`;
    test(promise, async () => {
      for (const seed of seeds) {
        await run(seed, { losses, pages }).catch((error) => {
          error.message = `SEED=${seed}: ${error.message}`;
          throw error;
        });
      }
    });
  }
