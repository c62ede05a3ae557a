// A server that a test plays itself, in the place of fetch.

import { settle } from "./clock.js";

const STREAM = { "Content-Type": "text/event-stream; charset=utf-8" };

/** One request, which waits for what the test answers. */
class Request {
  #answer;
  #body;

  constructor(url, { signal, ...init }) {
    this.url = new URL(url);
    this.init = init;
    this.signal = signal;
    // As fetch does: invalid ones are refused at once.
    this.headers = new Headers(init.headers);
    this.answered = new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
      if (signal?.aborted) reject(signal.reason);
      signal?.addEventListener("abort", () => this.fail(signal.reason));
    });
  }

  /** Answer; the body of a stream is sent afterwards. */
  async respond(status, headers = {}) {
    const body = new ReadableStream({ start: (body) => (this.#body = body) });
    this.response = new Response(status === 204 ? null : body, { status, headers });
    this.#answer.resolve(this.response);
    await settle();
  }

  /** Answer with a stream, and perhaps its first blocks. */
  async open(text = "") {
    await this.respond(200, STREAM);
    if (text) await this.send(text);
  }

  async send(content) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    this.#body.enqueue(bytes);
    await settle();
  }

  async end() {
    this.#body.close();
    await settle();
  }

  /** Break the connection off. */
  async fail(reason = new TypeError("the network is gone")) {
    this.#answer.reject(reason);
    this.#body?.error(reason);
    await settle();
  }
}

export class Server {
  requests = [];

  /** Answer in the place of fetch. */
  constructor() {
    globalThis.fetch = (url, init) => {
      this.requests.push(new Request(url, init));
      return this.requests.at(-1).answered;
    };
  }

  /** The last request. */
  get request() {
    return this.requests.at(-1);
  }
}

/** Return an event as it is on the wire. */
export function block(data, { type, id, retry } = {}) {
  const fields = Object.entries({ event: type, id, retry }).filter(([, value]) => value);
  const text = typeof data === "string" ? data : JSON.stringify(data);
  const lines = fields.map(([name, value]) => `${name}: ${value}`);
  return [...lines, ...text.split("\n").map((line) => `data: ${line}`), "", ""].join("\n");
}

/** Return the greeting that each stream begins with. */
export function connected(id, more = {}) {
  const greeting = { client_id: "c1", user_id: null, channels: [], heartbeat: 15 };
  return block({ ...greeting, resumed: false, ...more }, { type: "connected", id });
}
