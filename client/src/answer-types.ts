// The types of answers. Contains no code.

import type { StreamError } from "./errors.js";

/** The progress of a job. */
export interface Progress {
  done: number;
  total: number;
  text: string;
}

/** A part of an answer, beside its text. */
export interface Part {
  /** `message`, or the type of the event that the server yielded. */
  type: string;
  /** The decoded text if it is JSON, otherwise the text itself. */
  data: any;
  /** Whether the part begins the answer anew: it replaces all parts before it. */
  snapshot: boolean;
}

/** The end of an answer. */
export interface AnswerEnd {
  /**
   * `failed`: the server said no, or its iterable raised an error. `lost`: the server knows
   * nothing more of the answer, or it cannot be read any more.
   */
  state: "done" | "stopped" | "failed" | "lost";
  /** The server's word for it or that of `error`, null if the server has none. */
  reason: string | null;
  /** A text for people, null if the answer is complete. */
  message: string | null;
  /** The id by which the server's log has the error. */
  errorId: string | null;
  /** The error of the request, if it was refused or broke off. */
  error: StreamError | null;
}

/** The options of `resume()`. */
export interface AnswerOptions {
  /** The name under which `sessionStorage` has the answer's id. It needs `readUrl`. */
  key?: string | undefined;
  /** Returns the URL where the answer of an id is read. */
  readUrl?: ((id: string) => string | URL) | undefined;
  /** Returns the URL to which `stop()` sends a POST. */
  stopUrl?: ((id: string) => string | URL) | undefined;
  /** Called with the whole text so far. */
  onText?: ((text: string) => void) | undefined;
  /** Called with the text of each part. */
  onPart?: ((text: string, part: Part) => void) | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Called once, unless the answer was closed. */
  onEnd?: ((end: AnswerEnd) => void) | undefined;
  /** Closes the answer when it is aborted. */
  signal?: AbortSignal | undefined;
  /** Sent with each request, `stop()` included. */
  headers?: HeadersInit | undefined;
  credentials?: RequestCredentials | undefined;
  /** The seconds between heartbeats, if the server's are not 15. */
  heartbeat?: number | undefined;
}

/** The options of `answer()`. */
export interface StartOptions extends AnswerOptions {
  /** POST if there is a body, otherwise GET. */
  method?: string | undefined;
  body?: BodyInit | null | undefined;
}
