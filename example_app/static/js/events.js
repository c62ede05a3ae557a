// Reads the events of a response of fetch(). An EventSource cannot post. It also reconnects
// by itself when a connection breaks, and would receive another answer.

/** Yield {type, data} of each event as it arrives. The data must be JSON. */
export async function* eventsOf(response) {
  let type = "message";
  let data = [];
  for await (const line of linesOf(response)) {
    const [, field, value] = line.match(/^([^:]*):? ?(.*)$/s);
    if (field === "data") data.push(value);
    else if (field === "event") type = value;
    // A blank line ends the event. Comments and ids are ignored here.
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
    // If the caller stops reading, close the connection, so that the server stops too.
    reader.cancel().catch(() => {});
  }
}

/** An error in words for the user. Its `id` finds the error in the log. */
export class Problem extends Error {
  constructor(message, id) {
    super(message);
    this.id = id;
  }
}

/** Send a request, by default a POST. Throws a Problem if it is refused. */
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
 * Problem if the stream says that it failed, or if it breaks off.
 */
export async function follow(response, on) {
  try {
    for await (const { type, data } of eventsOf(response)) {
      if (type === "done") return;
      if (type === "error") throw new Problem(...failureOf(data));
      on(type, data);
    }
  } catch (error) {
    // Reading throws a TypeError if the connection breaks.
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
