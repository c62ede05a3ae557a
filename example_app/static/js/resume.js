// Reports how a stream resumed: how long it was away, and how many events it had missed.

// Missed events arrive in one go. After a pause of this length, in milliseconds, all of
// them have arrived.
const PAUSE = 400;

/**
 * Call say(seconds, events) after each resume of a stream. The caller has to call arrived()
 * for each event.
 */
export function watchResume(stream, say) {
  let wasOpen = false;
  let lostAt = null;
  let away = 0;
  let missed = 0;
  let timer = null;

  const settle = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = null;
      say(away, missed);
    }, PAUSE);
  };

  stream.onState(() => {
    if (stream.state === "open") {
      wasOpen = true;
      if (lostAt === null) return;
      away = (performance.now() - lostAt) / 1000;
      lostAt = null;
      settle();
    } else if (wasOpen && lostAt === null) {
      lostAt = performance.now();
      missed = 0;
      clearTimeout(timer);
    }
  });

  return {
    /** Note that an event has arrived. It is counted if the stream has just resumed. */
    arrived() {
      if (timer === null) return;
      missed += 1;
      settle();
    },
    /** Report nothing for this resume: the missed events are gone, as another notice says. */
    forget() {
      clearTimeout(timer);
      timer = null;
    },
  };
}
