// Runs a client of npm: `node listen.mjs NAME URL METHOD`. Writes a JSON array on a line for
// each thing that happens: ["status", 200] for each response, ["event", type, data, id] for
// each event, whose data must be JSON, and ["end"] if the client has read all.

const [, , name, url, method] = process.argv;
const headers = { Authorization: "Bearer alice", "Content-Type": "application/json" };
const body = method === "POST" ? "{}" : undefined;

const say = (...said) => console.log(JSON.stringify(said));

const hear = ({ event, data, id }) =>
  say("event", event || "message", JSON.parse(data), id ?? "");

async function counting(...request) {
  const response = await fetch(...request);
  say("status", response.status);
  return response;
}

const clients = {
  "@microsoft/fetch-event-source": async () => {
    globalThis.window = globalThis;
    globalThis.document = { addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = await import("@microsoft/fetch-event-source");
    await fetchEventSource(url, {
      ...{ method, headers, body, fetch: counting, openWhenHidden: true },
      onmessage: hear,
      onerror: (error) => say("error", String(error)),
    });
    say("end");
  },

  "eventsource-client": async () => {
    const { createEventSource } = await import("eventsource-client");
    createEventSource({ url, method, headers, body, fetch: counting, onMessage: hear });
  },

  "event-source-plus": async () => {
    const { EventSourcePlus } = await import("event-source-plus");
    const source = new EventSourcePlus(url, { method, headers, body, fetch: counting });
    source.listen({ onMessage: hear });
  },

  "event-source-plus, on-error": async () => {
    const { EventSourcePlus } = await import("event-source-plus");
    const options = { method, headers, body, fetch: counting };
    const source = new EventSourcePlus(url, { ...options, retryStrategy: "on-error" });
    source.listen({ onMessage: hear }).onAbort(() => say("end"));
  },

  eventsource: async () => {
    const { EventSource } = await import("eventsource");
    const source = new EventSource(url, { fetch: counting });
    const tell = ({ type, data, lastEventId }) =>
      hear({ event: type, data, id: lastEventId });
    for (const type of ["message", "done"]) source.addEventListener(type, tell);
  },
};

await clients[name]();
