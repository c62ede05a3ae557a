// Uses that the compiler must accept, and uses that it must refuse.

import { StreamError, connect } from "./sse-hub/sse-hub.js";
import { useDashboardSSE, useSSE } from "./sse-hub/sse-hub-react.js";

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
  const { error, lastEvent } = useSSE({ onReset: ({ reason }) => reason.length });
  const { data } = useDashboardSSE({ initial: { total: 1 } });
  const stream = connect("/events", { on: { "*": (_, event) => event.id.length } });
  return [
    error?.status?.toFixed(),
    lastEvent?.id.length,
    data?.total.toFixed(),
    stream.lastEventId,
  ];
}

export async function iterated() {
  try {
    for await (const { type, text } of connect()) console.log(type.length + text.length);
  } catch (error) {
    if (error instanceof StreamError) console.log(error.reason.length);
  }
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
  // @ts-expect-error there is no such state
  return useSSE().state === "disconnected";
}
