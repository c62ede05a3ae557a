"""Calls of the app's own code from loops that serve every stream.

The app's code is a receiver of a signal, a channel rule or a log handler. It may raise
anything: gevent's Timeout and GreenletExit, and SystemExit, are no ``Exception``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def surviving(report: Callable[[], object] | None = None) -> Iterator[None]:
    """Go on after the block, whatever the app's code in it raises.

    ``report`` is called while the error is handled, to log it. It is the app's code
    too: a log filter may fail again, and that error is dropped. KeyboardInterrupt is
    raised as usual, because Ctrl-C reaches the greenlet that happens to run.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - `report` logs it
        if report is not None:
            with surviving():
                report()
