// Reads streams through a parser of npm, and writes the events that it dispatches.
// `node decode.mjs NAME` reads a JSON array of [stream in Base64, bytes in one piece] from
// stdin. It writes an array with one {events: [{type, data, id}], retries: [ms], errors:
// [text]} for each stream. A parser that does not tell a type or an id leaves it out.

import { readFileSync } from "node:fs";
import { createParser } from "eventsource-parser";

const URL_OF_NOTHING = "http://localhost/";

function* piecesOf(bytes, size) {
  for (let start = 0; start < bytes.length; start += size) {
    yield bytes.subarray(start, start + size);
  }
}

/** Return a response whose body arrives in pieces. */
function responseOf(bytes, size) {
  const pieces = piecesOf(bytes, size);
  const body = new ReadableStream({
    pull(controller) {
      const { done, value } = pieces.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
}

/** Return a fetch() that answers with a stream once, and from then on with 204. */
function fetchOnce(bytes, size) {
  const answers = [responseOf(bytes, size)];
  return async () => answers.shift() ?? new Response(null, { status: 204 });
}

// Each decoder gets a stream and the size of its pieces, and fills the lists of `seen`.
const decoders = {
  "eventsource-parser": async (bytes, size, seen) => {
    const parser = createParser({
      onEvent: ({ event: type = "message", data, id = "" }) =>
        seen.events.push({ type, data, id }),
      onRetry: (ms) => seen.retries.push(ms),
      onError: (error) => seen.errors.push(error.message),
    });
    const decoder = new TextDecoder();
    for (const piece of piecesOf(bytes, size)) {
      parser.feed(decoder.decode(piece, { stream: true }));
    }
  },

  "eventsource-client": async (bytes, size, seen) => {
    const { createEventSource } = await import("eventsource-client");
    await new Promise((resolve) => {
      const source = createEventSource({
        url: URL_OF_NOTHING,
        fetch: fetchOnce(bytes, size),
        onMessage: ({ event: type = "message", data, id = "" }) =>
          seen.events.push({ type, data, id }),
        // It has read all when it wants to reconnect.
        onScheduleReconnect: ({ delay }) => {
          seen.retries.push(delay);
          source.close();
          resolve();
        },
      });
    });
  },

  "@microsoft/fetch-event-source": async (bytes, size, seen) => {
    globalThis.window = globalThis;
    globalThis.document = { addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = await import("@microsoft/fetch-event-source");
    await fetchEventSource(URL_OF_NOTHING, {
      fetch: fetchOnce(bytes, size),
      openWhenHidden: true,
      onmessage: ({ event, data, id }) =>
        seen.events.push({ type: event || "message", data, id }),
    });
  },

  "event-source-plus": async (bytes, size, seen) => {
    const { EventSourcePlus } = await import("event-source-plus");
    const source = new EventSourcePlus(URL_OF_NOTHING, {
      fetch: fetchOnce(bytes, size),
      retryStrategy: "on-error",
    });
    await new Promise((resolve) => {
      const controller = source.listen({
        onMessage: ({ event, data, id = "" }) =>
          seen.events.push({ type: event || "message", data, id }),
        onResponseError: ({ error }) => seen.errors.push(String(error)),
      });
      controller.onAbort(resolve);
    });
  },

  openai: async (bytes, size, seen) => {
    const { _iterSSEMessages } = await import("openai/core/streaming");
    const response = responseOf(bytes, size);
    for await (const sse of _iterSSEMessages(response, new AbortController())) {
      seen.events.push({ type: sse.event || "message", data: sse.data });
    }
  },

  ai: async (bytes, size, seen) => {
    const { jsonSchema, parseJsonEventStream } = await import("ai");
    const stream = responseOf(bytes, size).body;
    for await (const part of parseJsonEventStream({ stream, schema: jsonSchema({}) })) {
      seen.events.push({ data: part.success ? part.rawValue : part.error.text });
    }
  },

  "@ai-sdk/openai-compatible": async (bytes, size, seen) => {
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const provider = createOpenAICompatible({
      name: "tests",
      baseURL: URL_OF_NOTHING,
      fetch: fetchOnce(bytes, size),
    });
    const { stream } = await provider.chatModel("none").doStream({
      prompt: [],
      includeRawChunks: true,
    });
    for await (const part of stream) {
      if (part.type === "raw" && part.rawValue !== undefined) {
        seen.events.push({ data: part.rawValue });
      } else if (part.type === "error" && "text" in part.error) {
        // It is no JSON.
        seen.events.push({ data: part.error.text });
      }
    }
  },
};

const decode = decoders[process.argv[2]];
const decoded = [];
for (const [stream, size] of JSON.parse(readFileSync(0, "utf8"))) {
  const seen = { events: [], retries: [], errors: [] };
  await decode(Buffer.from(stream, "base64"), size, seen);
  decoded.push(seen);
}
process.stdout.write(JSON.stringify(decoded));
