// The wire format of event streams, as the HTML standard defines it. Pure.

// The most characters of one event. The server's limit is lower, so a longer one is not an
// event of a hub.
const LONGEST_EVENT = 2 ** 25;

const FIELD = /^(data|event|id|retry|channel)(?:: ?(.*))?$/s;

/**
 * @typedef {object} Reader what is called with the parts of a stream
 * @property {(type: string, text: string, id?: string, channel?: string) => void} onEvent
 *   called with each event, and with the id and the channel if its block has one
 * @property {(id: string) => void} onId called with the id of a block that is no event
 * @property {(milliseconds: number) => void} onRetry
 */

/**
 * Return a function that is called with each chunk of the stream's text. It throws an error
 * if an event is too long.
 *
 * @param {Reader} reader
 * @returns {(chunk: string) => void}
 */
export function parser({ onEvent, onId, onRetry }) {
  let unfinished = "";
  let isAfterCR = false;
  let type = "";
  /** @type {string | undefined} */
  let data;
  /** @type {string | undefined} */
  let id;
  /** @type {string | undefined} */
  let channel;

  /** @param {string} line */
  const take = (line) => {
    if (!line) {
      if (data !== undefined) onEvent(type || "message", data, id, channel);
      else if (id !== undefined) onId(id);
      data = id = channel = undefined;
      type = "";
      return;
    }
    const [, name, value = ""] = FIELD.exec(line) ?? [];
    if (name === "data") data = data === undefined ? value : `${data}\n${value}`;
    else if (name === "event") type = value;
    else if (name === "channel") channel = value;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^\d+$/.test(value)) onRetry(Number(value));
  };

  return (chunk) => {
    if (!chunk) return;
    // A line ends with its CR. An LF right behind it, perhaps in the next chunk, is a part
    // of that end.
    if (isAfterCR && chunk[0] === "\n") chunk = chunk.slice(1);
    isAfterCR = chunk.endsWith("\r");
    const lines = chunk.replace(/\r\n?/g, "\n").split("\n");
    lines[0] = unfinished + lines[0];
    unfinished = /** @type {string} */ (lines.pop());
    lines.forEach(take);
    if (unfinished.length + (data?.length ?? 0) > LONGEST_EVENT)
      throw new Error("an event is too long");
  };
}
