import { StreamError, StreamEvent } from './sse-hub.js';

/** The progress of a job. */
interface Progress {
    done: number;
    total: number;
    text: string;
}
/** A part of an answer, beside its text. */
interface Part {
    /** `message`, or the type of the event that the server yielded. */
    type: string;
    /** The decoded text if it is JSON, otherwise the text itself. */
    data: any;
    /** Whether the part begins the answer anew: it replaces all parts before it. */
    snapshot: boolean;
}
/** The end of an answer. */
interface AnswerEnd {
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
interface AnswerOptions {
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
interface StartOptions extends AnswerOptions {
    /** POST if there is a body, otherwise GET. */
    method?: string | undefined;
    body?: BodyInit | null | undefined;
}

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
 */
declare function answer(url: string | URL, options?: StartOptions): Answer;
/**
 * Go on with the answer that this tab has under `key` in its `sessionStorage`. Returns null
 * if there is none.
 *
 * The options may be those of `answer()`; its method and body are not sent again.
 */
declare function resume(options: StartOptions): Answer | null;
/**
 * Iterate over the events of a response that `fetch()` has returned.
 *
 * Throws a StreamError if the response is not a stream. A loop that is left cancels the
 * response.
 */
declare function readEvents(response: Response): AsyncGenerator<StreamEvent, void, void>;
/**
 * Return a handler for `onProgress` that shows the progress in a `<progress>` element.
 */
declare function showProgress(element: HTMLProgressElement): (progress: Progress) => void;
/** An answer, as `answer()` and `resume()` return it. */
declare class Answer {
    constructor(url: string | URL, options: StartOptions, id?: string | null);
    /** The answer's id, null until the server has told it. */
    readonly id: string | null;
    /** The text so far. */
    readonly text: string;
    /** The newest progress. */
    readonly progress: Progress | null;
    /** The end, null while the answer goes on. */
    readonly end: AnswerEnd | null;
    /** Whether it goes on, or the way in which it has ended. */
    get state(): "done" | "stopped" | "failed" | "lost" | "running";
    /**
     * Stop the answer for all its readers. Its end is `stopped`. Before the answer has an id
     * it waits for the id. Rejects with a StreamError if the server refuses.
     */
    stop(): Promise<void>;
    /** Read no more. The answer goes on, and `resume()` can return to it. */
    close(): void;
    #private;
}

export { Answer, type AnswerEnd, type AnswerOptions, type Part, type Progress, type StartOptions, answer, readEvents, resume, showProgress };
