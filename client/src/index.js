// sse-hub: streams of flask_sse_hub in a browser, which resume, and are shared by all tabs.

import { writtenInPage } from "./page.js";
import { EventStream } from "./stream.js";

/**
 * Open a stream. Without an address it is the one that `{{ sse_hub.script() }}` wrote into
 * the page, with its client id, cursor and user.
 *
 *     const stream = connect("/events?channel=news", { on: { story: (data) => show(data) } });
 *     const pages = connect({ shared: true });
 *
 * @param {string | URL | import("./stream.js").Options} [url] may be left out
 * @param {import("./stream.js").Options} [options]
 * @returns {EventStream}
 */
export function connect(url, options = {}) {
  if (typeof url === "object" && !(url instanceof URL)) return connect(undefined, url);
  const page = url === undefined ? writtenInPage() : {};
  const address = new URL(url ?? page.url ?? "/events", globalThis.document?.baseURI);
  const { clientId = page.clientId, lastEventId = page.lastEventId } = taken(address);
  return new EventStream(address, {
    clientId,
    lastEventId,
    userId: page.userId,
    ...options,
  });
}

/**
 * Take out of an address what changes from one attempt to the next, or from tab to tab.
 *
 * @param {URL} address
 */
function taken({ searchParams }) {
  const [clientId, lastEventId] = ["client_id", "last_event_id"].map((name) => {
    const value = searchParams.get(name) ?? undefined;
    searchParams.delete(name);
    return value;
  });
  return { clientId, lastEventId };
}

export { EventStream } from "./stream.js";
export { StreamError } from "./errors.js";

/**
 * @typedef {import("./stream.js").Options} Options
 * @typedef {import("./stream.js").StreamEvent} StreamEvent
 * @typedef {import("./stream.js").Sharing} Sharing
 * @typedef {import("./connection.js").State} State
 */
