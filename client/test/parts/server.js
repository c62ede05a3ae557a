// A server that the test controls. It replaces fetch.

import { settle } from "./clock.js";

const STREAM = { "Content-Type": "text/event-stream; charset=utf-8" };

/** One request, which waits until the test answers it. */
class Request {
  #answer;
  #body;

  constructor(url, { signal, ...init }) {
    this.url = new URL(url);
    this.init = init;
    this.signal = signal;
    // Throws at once if a header is invalid, as fetch does.
    this.headers = new Headers(init.headers);
    this.answered = new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
      if (signal?.aborted) reject(signal.reason);
      signal?.addEventListener("abort", () => this.fail(signal.reason));
    });
  }

  /** Answer with a status and headers. send() and end() provide the body. */
  async respond(status, headers = {}) {
    const body = new ReadableStream({ start: (body) => (this.#body = body) });
    this.response = new Response(status === 204 ? null : body, { status, headers });
    this.#answer.resolve(this.response);
    await settle();
  }

  /** Answer with a response of the test's own. */
  async answer(response) {
    this.#answer.resolve(response);
    await settle();
  }

  /** Answer with a stream, and send its first blocks if there are any. */
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

  /** Break the connection. */
  async fail(reason = new TypeError("the network is gone")) {
    this.#answer.reject(reason);
    this.#body?.error(reason);
    await settle();
  }
}

export class Server {
  requests = [];

  /** Replace fetch. */
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

/** Return an event in the wire format. */
export function block(data, { type, id, retry, channels = [] } = {}) {
  const fields = Object.entries({ event: type, id, retry }).filter(([, value]) => value);
  const text = typeof data === "string" ? data : JSON.stringify(data);
  const lines = fields.map(([name, value]) => `${name}: ${value}`);
  lines.push(...channels.map((name) => `channel: ${name}`));
  return [...lines, ...text.split("\n").map((line) => `data: ${line}`), "", ""].join("\n");
}

/** Return the greeting with which each stream begins. */
export function connected(id, more = {}) {
  const greeting = { client_id: "c1", user_id: null, channels: [], heartbeat: 15 };
  return block({ ...greeting, resumed: false, ...more }, { type: "connected", id });
}
