// An answer that outlives its reader: its text as it grows, its progress and its end. Knows
// the events that `sse_hub.answers` sends.
//
// The module stands alone, with a copy of the core's connection. So a page with answers and
// no stream does not load the core.

import { Connection } from "./connection.js";
import { StreamError, errorOf } from "./errors.js";
import { jsonOf } from "./json.js";
import { mustBe } from "./options.js";
import { baseAddress, guarded, watchPage } from "./page.js";
import { parser } from "./parser.js";

/**
 * @import { AnswerEnd, AnswerOptions, Progress, StartOptions } from "./answer-types.js"
 * @import { RawEvent } from "./connection.js"
 * @import { State, StreamEvent } from "./types.js"
 */

const FUNCTIONS = ["readUrl", "stopUrl", "onText", "onPart", "onProgress", "onEnd"];
const NAMES = [
  ...FUNCTIONS,
  ...["key", "signal", "method", "headers", "body", "credentials", "heartbeat"],
];

// The server's default.
const HEARTBEAT = 15;

// The server's words for answers of which no more comes, although nothing failed in them.
const LOST = ["lost", "shutdown"];

/**
 * Ask for an answer, and follow it to its end.
 *
 *     const reply = answer("/ask", {
 *       body: new FormData(form),
 *       readUrl: (id) => `/answers/${id}`,
 *       onText: (text) => { output.textContent = text; },
 *     });
 *
 * After a cut it reads on by itself: from `readUrl(id)`, or for a GET without `readUrl` from
 * the same URL. A POST is sent once, because each one may start another answer.
 *
 * Throws TypeError if an option does not exist or has a value of another type.
 *
 * @param {string | URL} url
 * @param {StartOptions} [options]
 * @returns {Answer}
 */
export function answer(url, options = {}) {
  check(url, options);
  forget(options.key);
  return new Answer(url, options);
}

/**
 * Go on with the answer that this tab has under `key` in its `sessionStorage`. Returns null
 * if there is none.
 *
 * The options may be those of `answer()`; its method and body are not sent again.
 *
 * @param {StartOptions} options
 * @returns {Answer | null}
 */
export function resume(options) {
  const { key, readUrl, body, method, ...others } = options;
  mustBe("key", key, "string");
  const id = remembered(key);
  if (id === null) return null;
  mustBe("readUrl", readUrl, "function");
  const url = /** @type {any} */ (readUrl)(id);
  check(url, { key, readUrl, ...others });
  return new Answer(url, { key, readUrl, ...others }, id);
}

/**
 * Iterate over the events of a response that `fetch()` has returned.
 *
 * Throws a StreamError if the response is not a stream. A loop that is left cancels the
 * response.
 *
 * @param {Response} response
 * @returns {AsyncGenerator<StreamEvent, void, void>}
 */
export async function* readEvents(response) {
  const error = await errorOf(response);
  if (error) throw error;
  /** @type {StreamEvent[]} */
  const waiting = [];
  let last = "";
  const feed = parser({
    onEvent: ({ type, text, id = last, channel }) => {
      last = id;
      waiting.push({ type, data: decoded(text), text, id, channel });
    },
    onId: (id) => (last = id),
    onRetry: () => {},
  });
  const decoder = new TextDecoder();
  const reader = /** @type {ReadableStream} */ (response.body).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      feed(decoder.decode(value, { stream: true }));
      yield* waiting.splice(0);
    }
  } finally {
    // A body that broke off cannot be cancelled.
    reader.cancel().catch(() => {});
  }
}

/**
 * Return a handler for `onProgress` that shows the progress in a `<progress>` element.
 *
 * @param {HTMLProgressElement} element
 * @returns {(progress: Progress) => void}
 */
export function showProgress(element) {
  return ({ done, total, text }) => {
    element.max = total;
    element.value = done;
    element.title = text;
    // Without it, a screen reader says the percentage alone.
    if (text) element.setAttribute("aria-valuetext", text);
    else element.removeAttribute("aria-valuetext");
    // Nothing of nothing is no part of it.
    if (!total) element.removeAttribute("value");
  };
}

/** An answer, as `answer()` and `resume()` return it. */
export class Answer {
  /** The answer's id, null until the server has told it. @readonly @type {string | null} */
  id;
  /** The text so far. @readonly @type {string} */
  text = "";
  /** The newest progress. @readonly @type {Progress | null} */
  progress = null;
  /** The end, null while the answer goes on. @readonly @type {AnswerEnd | null} */
  end = null;

  // The answer for its own code; to others its properties are read-only.
  #own = /** @type {{-readonly [Name in keyof Answer]: Answer[Name]}} */ (this);
  #closed = false;
  // Whether any event has come.
  #heard = false;
  // Whether the request starts an answer.
  #starts;
  // Whether the next part is the first one of a reader that came later.
  #isSnapshot = false;
  #options;
  #url;
  /** @type {import("./types.js").RequestOptions} */
  #request;
  #connection;
  #forgetPage;
  #abort = () => this.close();
  /** @type {() => void} */
  #tellId = () => {};
  // Resolves when the id is known, and when nobody needs it any more.
  #idKnown = new Promise((resolve) => (this.#tellId = () => resolve(null)));

  /**
   * @param {string | URL} url
   * @param {StartOptions} options
   * @param {string | null} [id]
   */
  constructor(url, options, id = null) {
    const { body, headers, credentials, signal, heartbeat = HEARTBEAT } = options;
    const { method = body == null ? "GET" : "POST" } = options;
    this.id = id;
    this.#starts = method.toUpperCase() !== "GET";
    this.#options = options;
    this.#url = absolute(url);
    this.#request = { method, body, headers, credentials, heartbeat };
    if (id !== null) this.#tellId();
    // The connection looks at the URL and the request before each attempt.
    this.#connection = new Connection(
      this.#url,
      this.#request,
      {
        onEvent: (event) => this.#take(event),
        onState: (state, error) => this.#follow(state, error),
      },
      { lastEventId: "" },
    );
    this.#forgetPage = watchPage((event) => this.#followPage(event));
    this.#connection.start();
    signal?.addEventListener("abort", this.#abort);
    if (signal?.aborted) this.close();
  }

  /** Whether it goes on, or the way in which it has ended. */
  get state() {
    return this.end?.state ?? "running";
  }

  /**
   * Stop the answer for all its readers. Its end is `stopped`. Before the answer has an id
   * it waits for the id. Rejects with a StreamError if the server refuses.
   */
  async stop() {
    const { stopUrl, headers, credentials } = this.#options;
    mustBe("stopUrl", stopUrl, "function");
    await this.#idKnown;
    if (this.#isOver || this.id === null) return;
    const url = absolute(/** @type {any} */ (stopUrl)(this.id));
    const response = await fetch(url, { method: "POST", headers, credentials });
    if (!response.ok) throw await errorOf(response);
  }

  /** Read no more. The answer goes on, and `resume()` can return to it. */
  close() {
    this.#closed = true;
    this.#leave();
  }

  get #isOver() {
    return this.#closed || this.end !== null;
  }

  /** Whether the next request continues, and does not start another answer. */
  get #mayRepeat() {
    return !this.#starts && (this.id !== null || !this.#heard);
  }

  #leave() {
    this.#connection.stop();
    this.#forgetPage();
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#tellId();
  }

  /** @param {RawEvent} event */
  #take({ type, text, id }) {
    if (this.#isOver) return;
    const data = decoded(text);
    if ((type === "done" || type === "error") && id.startsWith("end-"))
      return this.#finish(type, data ?? {});
    if (type === "answer" && data?.id && [null, data.id].includes(this.id))
      this.#begin(data.id, id);
    else if (type === "progress") {
      this.#own.progress = data;
      this.#call("onProgress", data);
    } else {
      const snapshot = this.#isSnapshot;
      this.#isSnapshot = false;
      if (type === "message") this.#own.text += text;
      this.#call("onPart", text, { type, data, snapshot });
      if (type === "message") this.#call("onText", this.text);
    }
    this.#heard = true;
  }

  /**
   * @param {string} id the answer's id
   * @param {string} place the answer's run and the position from which this reader reads
   */
  #begin(id, place) {
    const isAnew = place.endsWith(":0");
    // Nothing comes before the reader that has started the answer. For all others, the first
    // part has everything so far.
    this.#isSnapshot = isAnew && !this.#starts;
    if (isAnew && this.text) {
      this.#own.text = "";
      this.#call("onText", "");
    }
    this.#own.id = id;
    const { key, readUrl } = this.#options;
    if (key !== undefined) storage((stored) => stored.setItem(nameOf(key), id));
    if (readUrl)
      guarded(() => {
        this.#url.href = absolute(readUrl(id)).href;
        Object.assign(this.#request, { method: "GET", body: undefined });
        this.#starts = false;
      });
    this.#tellId();
  }

  /**
   * @param {"done" | "error"} type
   * @param {Record<"id" | "reason" | "message", string | null | undefined>} told
   */
  #finish(type, { id = null, reason = null, message = null }) {
    /** @type {AnswerEnd["state"]} */
    let state = reason ? "stopped" : "done";
    if (type === "error") state = LOST.includes(reason ?? "") ? "lost" : "failed";
    const errorId = type === "error" ? id : null;
    this.#end({ state, reason, message, errorId, error: null });
  }

  /**
   * @param {State} state
   * @param {StreamError | null} error
   */
  #follow(state, error) {
    if (this.#isOver || state === "connecting" || state === "open") return;
    if (state === "closed" || !this.#mayRepeat) this.#breakOff(error);
  }

  /** @param {StreamError | null} error null if the server ended the stream without a word */
  #breakOff(error) {
    error ??= new StreamError("network", "the answer broke off before its end");
    const { reason, message } = error;
    // A refusal says that no answer has been started.
    const state = this.#starts && error.status ? "failed" : "lost";
    this.#end({ state, reason, message, errorId: null, error });
  }

  /** @param {AnswerEnd} end */
  #end(end) {
    this.#own.end = end;
    this.#leave();
    // After a login, the same user can read on.
    if (end.reason !== "unauthorized") forget(this.#options.key, this.id);
    this.#call("onEnd", end);
  }

  /**
   * @param {"onText" | "onPart" | "onProgress" | "onEnd"} name
   * @param {...any} values
   */
  #call(name, ...values) {
    const handler = /** @type {any} */ (this.#options[name]);
    if (handler && !this.#closed) guarded(() => handler(...values));
  }

  /** @param {Event} event */
  #followPage(event) {
    const { type } = event;
    if (type === "pagehide") this.#connection.stop();
    else if (type === "pageshow") {
      // The page comes from the back-forward cache, where nothing runs.
      if (!(/** @type {PageTransitionEvent} */ (event).persisted)) return;
      if (this.#mayRepeat) this.#connection.start();
      else this.#breakOff(null);
    } else if (!this.#mayRepeat) return;
    else if (type === "beforeunload") this.#connection.leave();
    else if (type === "online") this.#connection.renew();
    else this.#connection.check();
  }
}

/**
 * Return the data of an event: its decoded text if it is JSON, otherwise the text itself.
 *
 * @param {string} text
 */
function decoded(text) {
  const data = jsonOf(text);
  return data === undefined ? text : data;
}

/** @param {string | URL} url */
function absolute(url) {
  return new URL(url, baseAddress());
}

/**
 * Throw TypeError if an option does not exist, or has a value that cannot be used.
 *
 * @param {string | URL} url
 * @param {StartOptions} options
 */
function check(url, options) {
  mustBe("options", options, "object");
  const { key, readUrl, body, method = body == null ? "GET" : "POST" } = options;
  for (const [name, value] of Object.entries(options)) {
    if (!NAMES.includes(name))
      throw new TypeError(`no option "${name}" exists, only ${NAMES.join(", ")}`);
    if (FUNCTIONS.includes(name) && value !== undefined) mustBe(name, value, "function");
  }
  if (key !== undefined) {
    mustBe("key", key, "string");
    mustBe("readUrl", readUrl, "function");
  }
  // Such a body would be sent as the text "[object Object]", or be gone.
  if (/^\[object O/.test(String(body)))
    throw new TypeError(`body must not be ${body}: JSON.stringify it`);
  // The browser refuses everything else that it could not send, such as a GET with a body.
  const { headers, credentials } = options;
  new Request(absolute(url), { method, headers, body, credentials });
}

// The ids of answers, for a page that is loaded again

/** @param {string} [key] */
const nameOf = (key) => `sse-hub-answer:${key}`;

/**
 * Use the storage of this tab. It may be refused, and outside a window there is none.
 *
 * @template T
 * @param {(storage: Storage) => T} use
 * @returns {T | null}
 */
function storage(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}

/** @param {string} [key] */
function remembered(key) {
  return storage((stored) => stored.getItem(nameOf(key)));
}

/**
 * Forget an answer. With an id, another answer under the same key stays remembered.
 *
 * @param {string} [key]
 * @param {string | null} [id]
 */
function forget(key, id = null) {
  if (key === undefined || (id !== null && remembered(key) !== id)) return;
  storage((stored) => stored.removeItem(nameOf(key)));
}
