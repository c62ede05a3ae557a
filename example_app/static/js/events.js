// Reads the events of a response of fetch(): an EventSource cannot post, and asks again
// by itself when a connection breaks, which would be another answer.

/** Yield {type, data} of each event as it comes; its data has to be JSON. */
export async function* eventsOf(response) {
  let type = "message";
  let data = [];
  for await (const line of linesOf(response)) {
    const [, field, value] = line.match(/^([^:]*):? ?(.*)$/s);
    if (field === "data") data.push(value);
    else if (field === "event") type = value;
    // A blank line ends the event. Comments and ids mean nothing here.
    if (line !== "") continue;
    if (data.length > 0) yield { type, data: JSON.parse(data.join("\n")) };
    type = "message";
    data = [];
  }
}

async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      // A carriage return at the end may be the first half of a line's end.
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      yield* lines;
    }
  } finally {
    // Who reads no further closes the connection, by which the server stops.
    reader.cancel().catch(() => {});
  }
}

/** What went wrong, in words for who looks at the page; `id` finds it in the log. */
export class Problem extends Error {
  constructor(message, id) {
    super(message);
    this.id = id;
  }
}

/** Make a request, a POST unless told otherwise; throw a Problem where it is refused. */
export async function send(url, options) {
  let response;
  try {
    response = await fetch(url, { method: "POST", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server could not be reached.");
  }
  if (response.ok) return response;
  if (response.status === 401) throw new Problem("You are not signed in any more.");
  const refusal = await response.json().catch(() => ({}));
  throw new Problem(refusal.error ?? `The server answered ${response.status}.`);
}

/**
 * Call on(type, data) for each event, until the stream says that it is complete. Throws a
 * Problem where it says that it failed, or breaks off.
 */
export async function follow(response, on) {
  try {
    for await (const { type, data } of eventsOf(response)) {
      if (type === "done") return;
      if (type === "error") throw new Problem(...failureOf(data));
      on(type, data);
    }
  } catch (error) {
    // Reading throws one where the connection breaks.
    if (error instanceof TypeError) throw new Problem("The connection broke.");
    if (error instanceof SyntaxError) throw new Problem("The answer could not be understood.");
    throw error;
  }
  throw new Problem("The connection ended too early.");
}

function failureOf({ reason, id }) {
  if (reason === "shutdown") return ["The server is restarting."];
  return ["Something went wrong on the server.", id];
}
