// Reads each case with our client and with an EventSource, in a page or in Node.js.

// Only a case that hangs takes so long.
const SECONDS = 40;

/** Read a case with our client. Returns its events, and the reason of its end. */
function ours(connect, url, { credentials, isCross }) {
  return new Promise((resolve) => {
    const events = [];
    const reasons = [];
    const stream = connect(url, {
      credentials,
      on: { "*": (_, { type, text, id }) => events.push([type, text, id]) },
      onState: ({ state, error }) => {
        if (error) reasons.push(error.reason);
        // Without the headers of CORS it would try again for ever.
        if (state === "closed" || (isCross && error?.reason === "network"))
          finish(error?.message);
      },
    });
    const timer = setTimeout(finish, SECONDS * 1000);
    function finish(message) {
      clearTimeout(timer);
      // Before the close, which is told too.
      resolve({ events, reasons, message });
      stream.close();
    }
  });
}

/** Read a case with an EventSource. */
function native(EventSource, url, { credentials, types }) {
  return new Promise((resolve) => {
    const events = [];
    const source = new EventSource(url, { withCredentials: credentials === "include" });
    for (const type of new Set(["message", ...types])) {
      source.addEventListener(type, (event) => {
        if (event.data !== undefined)
          events.push([event.type, event.data, event.lastEventId]);
      });
    }
    const timer = setTimeout(finish, SECONDS * 1000);
    source.addEventListener("error", () => source.readyState === 2 && finish());
    function finish() {
      clearTimeout(timer);
      source.close();
      resolve({ events });
    }
  });
}

/**
 * Read all cases, many at a time. A browser opens six connections per host, but most
 * cases wait for their next attempt.
 *
 * @param {(name: string, by: string) => string} urlOf
 */
export async function run(cases, { connect, EventSource, urlOf }) {
  const found = {};
  const waiting = [...cases];
  const read = async () => {
    for (let each; (each = waiting.shift());) {
      const [byOurs, byNative] = await Promise.all([
        ours(connect, urlOf(each, "ours"), each),
        native(EventSource, urlOf(each, "native"), each),
      ]);
      found[each.name] = { ours: byOurs, native: byNative };
    }
  };
  await Promise.all(Array.from({ length: 40 }, read));
  return found;
}
