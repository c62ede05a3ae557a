// Uses that the compiler must accept, and uses that it must refuse.

import {
  type ErrorReason,
  type EventStream,
  type FinalReason,
  type Options,
  StreamError,
  type StreamEvent,
  connect,
} from "sse-hub";
import { type UseSSEOptions, useDashboardSSE, usePresence, useSSE } from "sse-hub/react";
import { sseStore } from "sse-hub/svelte";
import { useSSE as useSSEInVue } from "sse-hub/vue";

interface Story {
  title: string;
}

// An interface has no index signature.
interface Events {
  story: Story;
  count: number;
}

export function Allowed() {
  useSSE();
  useSSE({ url: null });
  useSSE({
    url: new URL("https://example.org"),
    pauseWhenHidden: 10,
    ticket: async () => "t",
  });
  // A page without a login has these values.
  useSSE({ userId: null, ticket: () => null });
  useSSE({ headers: new Headers({ "X-Page": "types" }) });
  useSSE({ headers: [["X-Page", "types"]] });
  // Options that are undefined are left out.
  useSSE({ url: undefined, signal: undefined, eventHandlers: { story: undefined } });
  const { error, lastEvent } = useSSE({ onReset: ({ reason }) => reason.length });
  const { data } = useDashboardSSE({ initial: { total: 1 } });
  const { data: later } = useDashboardSSE<Story>({ url: "/events" });
  const { people } = usePresence<{ name: string }>("room.7", { shared: true });
  const names: string[] = people.map(({ data }) => data.name);
  const stream = connect("/events", { on: { "*": (_, event) => event.id.length } });
  return [
    error?.status?.toFixed(),
    lastEvent?.id.length,
    data.total.toFixed(),
    later?.title,
    names[0]?.trim(),
    stream.lastEventId,
  ];
}

export function declared() {
  const stream = connect<Events>("/events", {
    on: {
      story: (story, { id }) => story.title + id,
      reset: ({ reason }) => reason === "expired",
      "*": (_, event) => event.type === "count" && event.data.toFixed(),
    },
    onState: ({ state, lastEvent }) => [state, lastEvent?.type],
    signal: AbortSignal.timeout(1000),
  });
  stream.on("count", (count) => count.toFixed());
  stream.on("connected", ({ client_id }) => client_id.length);
  stream.on("*", (_, { id }) => id.length);
  // A function for any stream takes this one too, and its options are those of any.
  badge(stream);
  const { lastEvent } = useSSE<Events>({ eventHandlers: { count: (n) => n.toFixed() } });
  return lastEvent?.type === "story" && lastEvent.data.title;
}

const badge = ({ state, error }: EventStream) => `${state} ${error?.reason}`;

/** Options and events can be passed on by their names. */
export const passedOn = (options: Options, hook: UseSSEOptions, event: StreamEvent) => [
  connect(options),
  connect("/events", { ...options, shared: true }),
  useSSE({ ...hook, url: "/events" }),
  event.data.anything,
];

/** A switch over the reasons knows all of them. */
export function explained(reason: FinalReason): string {
  switch (reason) {
    case "unauthorized":
    case "forbidden":
    case "bad-request":
    case "no-content":
    case "not-a-stream":
    case "user-changed":
      return reason satisfies ErrorReason;
  }
}

export async function iterated() {
  try {
    for await (const { type, text } of connect()) console.log(type.length + text.length);
    for await (const event of connect<Events>())
      if (event.type === "story") console.log(event.data.title);
  } catch (error) {
    if (error instanceof StreamError) console.log(error.reason.length);
  }
}

export function ended() {
  using stream = connect<Events>();
  return stream.state;
}

export function inVue() {
  const { isConnected, lastEvent, reconnect } = useSSEInVue<Events>(() => ({
    url: "/events",
    eventHandlers: { story: ({ title }) => title },
  }));
  reconnect();
  return isConnected.value && lastEvent.value?.type === "count" && lastEvent.value.data;
}

export function inSvelte() {
  const stream = sseStore<Events>({ eventHandlers: { story: ({ title }) => title } });
  return stream.subscribe(({ isConnected, lastEvent }) => [isConnected, lastEvent?.id]);
}

export function Refused() {
  // @ts-expect-error the handlers of a hook are eventHandlers
  useSSE({ on: {} });
  // @ts-expect-error the state is in the result
  useSSE({ onState: () => {} });
  // @ts-expect-error a ticket is asked for before each attempt
  connect({ ticket: "abc" });
  // @ts-expect-error the option is called shared
  connect({ share: true });
  // @ts-expect-error a url is a string, a URL or null
  useSSE({ url: 7 });
  // @ts-expect-error there is no such reason
  if (useSSE().error?.reason === "unauthorised") return true;
  // @ts-expect-error the events have no such type
  connect<Events>().on("storey", () => {});
  // @ts-expect-error the events have no such type
  connect<Events>({ on: { storey: () => {} } });
  // @ts-expect-error the data is a number
  connect<Events>({ on: { count: (count: string) => count } });
  // @ts-expect-error only the stream changes its state
  connect().state = "open";
  // @ts-expect-error only the stream changes its user
  connect().userId = "alice";
  // @ts-expect-error the state may not have arrived yet
  useDashboardSSE<Story>({ url: "/events" }).data.title;
  // @ts-expect-error the composable returns refs
  if (useSSEInVue().isConnected === true) return true;
  // @ts-expect-error there is no such state
  return useSSE().state === "disconnected";
}
