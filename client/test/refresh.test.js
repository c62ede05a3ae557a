import assert from "node:assert/strict";
import { test } from "node:test";
import { refreshFragments } from "../src/refresh.js";
import { Clock, settle } from "./parts/clock.js";

const clock = new Clock();

/** An element of a page: its id, its attribute, and the children that it shows. */
class Element {
  changes = 0;
  events = [];

  constructor(id, address, ...childNodes) {
    Object.assign(this, { id, address, childNodes });
  }
  getAttribute() {
    return this.address;
  }
  replaceChildren(...nodes) {
    this.childNodes = nodes;
  }
  dispatchEvent({ type }) {
    this.events.push(type);
  }
}

/** A page with these elements, whose server answers with `answers`, in their order. */
function page(elements, answers) {
  const asked = [];
  const reloads = [];
  Object.assign(globalThis, {
    document: { querySelectorAll: () => elements },
    location: { href: "https://app.example/notes", reload: () => reloads.push(1) },
    fetch: async (address) => {
      asked.push(address);
      const answer = answers.shift()?.();
      if (answer === undefined) throw new TypeError("away");
      const { status = 200, ...texts } = answer;
      return { status, text: async () => texts };
    },
    DOMParser: class {
      parseFromString(texts) {
        return { getElementById: (id) => texts[id] && { childNodes: [texts[id]] } };
      }
    },
    MutationObserver: class {
      observed = [];
      observe(element) {
        this.observed.push([element, element.changes]);
      }
      takeRecords() {
        return this.observed.filter(([element, before]) => element.changes > before);
      }
      disconnect() {}
    },
  });
  return { asked, reloads };
}

test("each element shows what the server has, and each address is asked once", async () => {
  const elements = [
    new Element("a", "", "old"),
    new Element("b", "/part", "old"),
    new Element("c", "", "old"),
  ];
  const { asked, reloads } = page(elements, [
    () => ({ a: "new a", c: "new c" }),
    () => ({ b: "new b" }),
  ]);
  const done = refreshFragments({ spread: 0 });
  await clock.advance(0);
  await done;
  assert.deepEqual(asked, ["https://app.example/notes", "/part"]);
  assert.deepEqual(
    elements.map(({ childNodes, events }) => [...childNodes, ...events]),
    ["a", "b", "c"].map((id) => [`new ${id}`, "sse-refresh"]),
  );
  assert.equal(reloads.length, 0);
});

test("pages ask at different moments, and resets meanwhile share one refresh", async (t) => {
  t.mock.method(Math, "random", () => 0.5);
  const { asked } = page([new Element("a", "/a")], [() => ({ a: "new" })]);
  const first = refreshFragments();
  await clock.advance(4.9);
  assert.equal(refreshFragments(), first);
  assert.deepEqual(asked, []);
  await clock.advance(0.2);
  await first;
  assert.deepEqual(asked, ["/a"]);
});

test("an event that arrives meanwhile is not lost", async () => {
  const element = new Element("a", "/a", "old");
  page(
    [element],
    [
      () => {
        element.changes += 1;
        return { a: "rendered before the event" };
      },
      () => ({ a: "rendered after the event" }),
    ],
  );
  const done = refreshFragments({ spread: 0 });
  await clock.advance(0);
  await done;
  assert.deepEqual(element.childNodes, ["rendered after the event"]);
});

test("a server that is away is asked again, a limited number of times", async (t) => {
  t.mock.method(Math, "random", () => 1);
  const element = new Element("a", "/a", "old");
  const away = [() => undefined, () => ({ status: 503 }), () => ({ status: 429 })];
  let { asked, reloads } = page([element], [...away, () => ({ a: "new" })]);
  let done = refreshFragments({ spread: 2 });
  await clock.advance(8);
  await done;
  assert.deepEqual(element.childNodes, ["new"]);
  ({ asked, reloads } = page([element], []));
  done = refreshFragments({ spread: 2 });
  await clock.advance(60);
  await done;
  assert.deepEqual([asked.length, reloads.length], [5, 1]);
});

test("the page is loaded where its parts cannot be", async () => {
  const cases = [
    [[], []],
    [[new Element("a", "/login")], [() => ({ form: "log in" })]],
    [[new Element("", "/a")], [() => ({ a: "new" })]],
  ];
  for (const [elements, answers] of cases) {
    const { reloads } = page(elements, answers);
    const done = refreshFragments({ spread: 0 });
    await clock.advance(0);
    await settle();
    await done;
    assert.equal(reloads.length, 1);
  }
});

test("an impossible spread is refused", () => {
  for (const spread of [-1, NaN, Infinity, "x"])
    assert.throws(() => refreshFragments({ spread }), /spread must be a number/);
});
