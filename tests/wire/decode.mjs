// Reads streams from stdin, one in Base64 per line, and writes what eventsource-parser
// makes of each: a JSON array of {events: [{type, data, id}], retries: [ms], errors: [text]}.

import { readFileSync } from "node:fs";
import { createParser } from "eventsource-parser";

function decode(stream) {
  const events = [];
  const retries = [];
  const errors = [];
  const parser = createParser({
    onEvent: ({ event = "message", data, id = "" }) =>
      events.push({ type: event, data, id }),
    onRetry: (ms) => retries.push(ms),
    onError: (error) => errors.push(error.message),
  });
  parser.feed(new TextDecoder().decode(stream));
  return { events, retries, errors };
}

const lines = readFileSync(0, "ascii").split("\n").filter(Boolean);
const decoded = lines.map((line) => decode(Buffer.from(line, "base64")));
process.stdout.write(JSON.stringify(decoded));
