"""The server of ``flask sse mock``: it plays a script to each client.

For developers of front ends, on their own machine. Does not know apps or hubs. The
module ``script`` has the steps of a script.
"""

import re
import select
import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from werkzeug import Request, Response
from werkzeug.serving import BaseWSGIServer, make_server

from ..server.connection import last_event_id
from .script import Drop, Refuse, Send, Step, Wait, read_script

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# The origins that may read the answers: pages of a front end's own server on this
# machine, on any port. Other sites must not read from a developer's machine.
_LOCAL_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")

# The hosts that this server answers to. By DNS rebinding a page of another site can
# have its own name lead to this machine, and its origin then has that name.
_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)

# How many refused or dropped clients are remembered: far more than a developer has
# tabs. The oldest are forgotten, since some never come back.
_MAX_SENT_AWAY = 1_000


def make_mock_server(script: str, *, port: int, loop: bool) -> BaseWSGIServer:
    """Return a server that plays a script, to clients on this machine alone.

    The server listens at once, and answers when ``serve_forever()`` is called. Port 0
    is any free port. Raises InvalidScript.
    """
    mock = Mock(read_script(script, loop=loop), loop=loop)
    return make_server("127.0.0.1", port, mock, threaded=True)


class Mock:
    """A WSGI application that plays steps to each client, on every path.

    A client that sends the id of an event resumes after that event. Any other client
    begins at the start. A drop or a status happens once to each client that reaches it:
    the next client with the same last event id counts as the same client, and continues
    after that step. After the last step a stream stays open and silent until its client
    goes away.
    """

    def __init__(self, steps: list[Step], *, loop: bool) -> None:
        self._steps = steps
        self._loop = loop
        self._after = {
            step.event_id: number
            for number, step in enumerate(steps, 1)
            if isinstance(step, Send) and step.event_id is not None
        }
        # Guards self._further: each client has a thread.
        self._lock = threading.Lock()
        # For each last event id, or "" without one: the steps at which refused or
        # dropped clients continue, one entry for each client.
        self._further: defaultdict[str, deque[int]] = defaultdict(
            lambda: deque(maxlen=_MAX_SENT_AWAY)
        )

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one client."""
        request = Request(environ)
        if not _LOCAL_HOST.fullmatch(environ.get("HTTP_HOST", "")):
            refusal = Response(
                "this server answers only to localhost: ask for http://localhost or"
                " http://127.0.0.1 and its port\n",
                status=403,
            )
            return refusal(environ, start_response)
        if request.method == "OPTIONS":
            response = Response(status=204)
        else:
            response = self._answer(request, environ["werkzeug.socket"])
        _open_to_local_pages(request, response)
        return response(environ, start_response)

    def _answer(self, request: Request, connection: socket.socket) -> Response:
        last_id = last_event_id(request) or ""
        last_id = last_id if last_id in self._after else ""
        start = self._start(last_id)
        step = self._steps[start] if start < len(self._steps) else None
        if not isinstance(step, Refuse):
            return Response(
                self._play(start, last_id, connection),
                mimetype="text/event-stream",
                headers={"Cache-Control": "no-cache, no-transform"},
            )
        self._go_on(last_id, start + 1)
        response = Response(f"{step.status}, as the script says\n", step.status)
        if step.retry_after is not None:
            response.headers["Retry-After"] = f"{step.retry_after:g}"
        return response

    def _start(self, last_id: str) -> int:
        with self._lock:
            sent_away = self._further[last_id]
            start = sent_away.popleft() if sent_away else self._after.get(last_id, 0)
        return 0 if self._loop and start >= len(self._steps) else start

    def _go_on(self, last_id: str, number: int) -> None:
        with self._lock:
            self._further[last_id].append(number)

    def _play(
        self, number: int, last_id: str, connection: socket.socket
    ) -> Iterator[bytes]:
        # The server sends the head of the response together with its first bytes, so a
        # comment is sent at once. No blank line follows it: a blank line would make a
        # browser forget its last event id.
        yield b":\n"
        while number < len(self._steps):
            match self._steps[number]:
                case Send(block, event_id):
                    last_id = event_id or last_id
                    yield block
                case Wait(seconds):
                    if _leaves(connection, within=seconds):
                        return
                case Drop():
                    self._go_on(last_id, number + 1)
                    return
                case Refuse():
                    self._go_on(last_id, number)
                    return
            number += 1
            if self._loop and number == len(self._steps):
                number = 0
        _leaves(connection, within=None)


def _leaves(connection: socket.socket, *, within: float | None) -> bool:
    """Wait for ``within`` seconds, or for ever; tell whether the client goes away.

    Returns at once when it does.
    """
    deadline = None if within is None else time.monotonic() + within
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([connection], [], [], left)
        if not readable:
            return False
        try:
            # Bytes that a client sends after its request are read and thrown away.
            if not connection.recv(4096):
                return True
        except OSError:
            return True


def _open_to_local_pages(request: Request, response: Response) -> None:
    """Let pages of other servers on this machine read the answer, with cookies."""
    origin = request.headers.get("Origin", "")
    response.headers["Vary"] = "Origin"
    if not _LOCAL_ORIGIN.fullmatch(origin):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Allow-Credentials"] = "true"
    response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    if request.method == "OPTIONS":
        asked = request.headers.get("Access-Control-Request-Headers", "")
        response.headers["Access-Control-Allow-Headers"] = asked
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
