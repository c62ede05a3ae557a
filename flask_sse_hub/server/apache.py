"""Apache's limit for requests, which no module of mod_wsgi tells."""

import ctypes

# From Apache's include/ap_mpm.h, whose numbers are part of its stable interface.
_MAX_THREADS = 6
_MAX_DAEMONS = 12


def request_workers() -> int | None:
    """Return Apache's MaxRequestWorkers, None if this process is not Apache's.

    Apache serves as many requests at once in all of its processes together, those that
    wait for a daemon process of mod_wsgi included. Beyond the limit, connections wait
    without an answer.
    """
    daemons = _ask(_MAX_DAEMONS)
    threads = _ask(_MAX_THREADS)
    # The prefork module has no threads: 0, and one request in each process.
    return daemons * max(1, threads or 0) if daemons else None


def _ask(query: int) -> int | None:
    answer = ctypes.c_int()
    try:
        # mod_wsgi runs Python inside of Apache's own program.
        status = ctypes.CDLL(None).ap_mpm_query(query, ctypes.byref(answer))
    except (AttributeError, OSError, TypeError):
        # No such function; and Windows knows no program without a name.
        return None
    return answer.value if status == 0 else None
