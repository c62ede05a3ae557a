// The types of typed events, as `flask sse types` writes them. `npm run check` compiles this
// file; it is never run. tests/unit/web/test_types_command.py compares events.ts.

import { connect } from "../../src/index.js";
import type { Color, Events, Item } from "./events.js";

/** Whether two types are the same. */
type Same<One, Other> =
  (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;

function same<One, Other>(_same: Same<One, Other>): void {}

const stream = connect<Events>("/events", {
  on: { address: ({ city }) => same<typeof city, string | undefined>(true) },
});

stream.on("every.thing", (data, event) => {
  same<typeof event.data, typeof data>(true);
  same<typeof data.number, number>(true);
  same<typeof data.choice, "a" | 1 | true | "blue" | null>(true);
  same<typeof data.pair, [number, string]>(true);
  same<typeof data.list_of, (number | null)[]>(true);
  same<(typeof data.mapping)[string], number[]>(true);
  same<typeof data.children, (typeof data)[]>(true);
  same<typeof data.page.items, Color[]>(true);
  same<typeof data.raw, unknown>(true);
});
stream.on("item", (item) => same<typeof item, Item>(true));
stream.on("sparse", ({ z }) => same<typeof z, number | undefined>(true));

// @ts-expect-error No event has this type.
stream.on("every.think", () => {});
// @ts-expect-error The data has no such field.
stream.on("point", ({ z }) => z);
