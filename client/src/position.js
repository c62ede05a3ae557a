// Positions: which of two events came first in a hub's stream. Pure.
//
// The id of a hub's event is `<epoch>-<offset>`: within one epoch offsets grow, and epochs
// follow one another in an order that only the stream itself shows.

const ID = /^([0-9a-z]+)-(\d+)$/;

/**
 * Return epoch and offset, empty where it is no id of a hub.
 *
 * @param {string} id
 */
function parts(id) {
  const [, epoch = "", offset = ""] = ID.exec(id) ?? [];
  return /** @type {const} */ ([epoch, offset]);
}

/** The order of the ids of one stream, as far as it was seen. */
export class Order {
  /** @type {Map<string, string>} */
  #next = new Map();

  /**
   * Take note that one id came right after another.
   *
   * @param {string} before
   * @param {string} id
   */
  learn(before, id) {
    const [earlier, later] = [parts(before)[0], parts(id)[0]];
    // What is known is not turned round: whoever slept tells of epochs that are long over.
    if (earlier && later && this.reaches(before, id) === undefined)
      this.#next.set(earlier, later);
  }

  /**
   * Tell whether an id is at or before another; undefined where that cannot be told.
   *
   * @param {string} id
   * @param {string} other
   * @returns {boolean | undefined}
   */
  reaches(id, other) {
    const [epoch, offset] = parts(id);
    const [otherEpoch, otherOffset] = parts(other);
    if (id === other) return true;
    if (!epoch || !otherEpoch) return undefined;
    if (epoch === otherEpoch) {
      // Too large for numbers, and written without leading zeros.
      return offset.length === otherOffset.length
        ? offset < otherOffset
        : offset.length < otherOffset.length;
    }
    if (this.#leads(epoch, otherEpoch)) return true;
    return this.#leads(otherEpoch, epoch) ? false : undefined;
  }

  /**
   * @param {string | undefined} epoch
   * @param {string} other
   */
  #leads(epoch, other) {
    while (epoch && epoch !== other) epoch = this.#next.get(epoch);
    return epoch;
  }
}
