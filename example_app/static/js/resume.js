// Tells how a stream came back: how long it was away, and how much was waiting for it.

// What was missed arrives in one go. After a pause of so many milliseconds it is there.
const PAUSE = 400;

/** Call say(seconds, events) after each return of a stream; who listens counts. */
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
    /** An event has come: of those that were missed, or of those now. */
    arrived() {
      if (timer === null) return;
      missed += 1;
      settle();
    },
    /** What was missed is not known: that is another story, and told elsewhere. */
    forget() {
      clearTimeout(timer);
      timer = null;
    },
  };
}
