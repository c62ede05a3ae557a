// sse-hub: streams of flask_sse_hub in a browser. They resume, and all tabs can share one.

import { check } from "./options.js";
import { baseAddress, writtenInPage } from "./page.js";
import { EventStream, NOWHERE } from "./stream.js";

/** @import { AnyEvents, Options } from "./types.js" */

/**
 * Open a stream. Without a URL, it uses the URL, client id, cursor and user that
 * `{{ sse_hub.script() }}` wrote into the page.
 *
 *     const stream = connect("/events?channel=news", { on: { story: (data) => show(data) } });
 *     const pages = connect({ shared: true });
 *
 * The URL may be left out; the options then come first. `Events` declares the data of each
 * type of event.
 * Where a server renders the page, a relative URL opens nothing.
 *
 * Throws TypeError if an option does not exist or has a value of another type.
 *
 * @template {object} [Events=AnyEvents]
 * @param {string | URL | null | Options<Events>} [url]
 * @param {Options<Events>} [options]
 * @returns {EventStream<Events>}
 */
export function connect(url, options = {}) {
  if (url && typeof url === "object" && !(url instanceof URL))
    return connect(undefined, url);
  const page = url == null ? writtenInPage() : {};
  const address = new URL(url ?? page.url ?? "/events", baseAddress() ?? NOWHERE);
  const { clientId = page.clientId, lastEventId = page.lastEventId } = taken(address);
  check(address, options);
  return new EventStream(address, {
    clientId,
    lastEventId,
    userId: page.userId,
    ...options,
  });
}

/**
 * Remove the client id and the cursor from a URL, and return them. They differ from attempt
 * to attempt and from tab to tab, so they cannot be part of a shared stream's URL.
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
