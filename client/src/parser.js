// The wire format of event streams, as the HTML standard defines it. Pure.

// The most characters of one event. The server's limit is lower, so a longer one is not an
// event of a hub.
const LONGEST_EVENT = 2 ** 25;

const FIELD = /^(data|event|id|retry|channel|earlier)(?:: ?(.*))?$/s;

/**
 * @typedef {{type: string, text: string, id?: string, channel?: string, earlier?: string}}
 *   Block an event, with the id, the channel and the earlier id that its block has
 *
 * @typedef {object} Reader what is called with the parts of a stream
 * @property {(event: Block) => void} onEvent called with each event
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
  /** @type {Record<string, string>} */
  let fields = {};

  /** @param {string} line */
  const take = (line) => {
    if (!line) {
      const { data: text, event: type, ...more } = fields;
      if (text !== undefined) onEvent({ type: type || "message", text, ...more });
      else if (more.id !== undefined) onId(more.id);
      fields = {};
      return;
    }
    const [, name, value = ""] = FIELD.exec(line) ?? [];
    if (name === "retry") {
      if (/^\d+$/.test(value)) onRetry(Number(value));
    } else if (name && /^(data|channel)$/.test(name) && fields[name] !== undefined)
      fields[name] += `\n${value}`;
    else if (name && (name !== "id" || !value.includes("\0"))) fields[name] = value;
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
    if (unfinished.length + (fields.data?.length ?? 0) > LONGEST_EVENT)
      throw new Error("an event is too long");
  };
}
