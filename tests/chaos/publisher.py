"""A process that publishes through the workers until its standard input is closed.

It writes one line of JSON for each call: the event's data and the returned id, which is
null if the call failed. Run it as ``python -m tests.chaos.publisher PORT NAME REACH
ID...`` with the ids of clients that events are addressed to or exclude. The reach is
``all``, or ``some`` for no event to everybody.
"""

import http.client
import itertools
import json
import random
import select
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.checker import Published
from tests.live.server import request

CHANNELS = [f"news.{number}" for number in range(6)]

#: A pattern that covers all of them, and one channel with a history of its own.
PATTERN = "news.*"
BOUNDED_CHANNEL = CHANNELS[-1]
USERS = ["alice", "bob"]

#: A channel and a user with few events, or none.
QUIET_CHANNEL = "quiet"
QUIET_USER = "admin"

# Calls per second of one publisher, if calls took no time. A third of the clients
# receive each event, so with several hundred clients this takes one core.
_RATE = 30.0

# The most repetitions of an unanswered call with an idempotency key.
_ATTEMPTS = 20

# The share of answered calls that are repeated all the same, as webhooks are.
_REPEATED = 0.1

# The share of calls after which a control record ends the streams of one user.
_DISCONNECTS = 0.001

# The share of calls with a key, and of those that end the value of their key. Each
# target has this many keys.
_VALUES = 0.3
_DELETES = 0.2
_KEYS = 3

# The share of calls with a ttl. Their events live for longer than a storm, apart from
# all others, and all of them have to arrive.
_SHORT_LIVED = 0.15
_TTL = 3600

# The share of calls to the quiet channel.
_QUIET = 0.002

#: Endings of data that show whether it arrives whole: line ends, spaces, characters of
#: several bytes, and more than one TCP segment.
_ENDINGS = ["", "", "", "", "\n", "\n\nthree lines", "  ", " é€🙂", "x" * 3000]


class Publisher:
    """One sequence of publish calls, each with data of its own."""

    def __init__(
        self, port: int, name: str, client_ids: Sequence[str], *, to_all: bool
    ) -> None:
        self._port = port
        self._name = name
        self._to_all = to_all
        self._client_ids = client_ids
        self._rng = random.Random(name)

    def calls(self) -> Iterator[Published]:
        """Publish without end; the caller pauses between calls."""
        for number in itertools.count():
            name = f"{self._name}-{number}"
            wanted = self._value() if self._rng.random() < _VALUES else self._target()
            event = {"data": name + self._rng.choice(_ENDINGS), **wanted}
            if self._to_all and self._rng.random() < _SHORT_LIVED:
                event["ttl"] = _TTL
            if self._rng.random() < 0.5:
                yield from self._insist(event, key=name)
            else:
                yield self._publish(event)
            if self._rng.random() < _DISCONNECTS:
                self._post(f"/disconnect/{self._rng.choice(USERS)}", None)

    def pause(self) -> float:
        """Return the seconds to wait before the next call."""
        return self._rng.expovariate(_RATE)

    def _insist(self, event: dict[str, Any], *, key: str) -> Iterator[Published]:
        """Publish with an idempotency key until answered, and sometimes once more."""
        for _ in range(_ATTEMPTS):
            call = self._publish(event | {"idempotency_key": key})
            yield call
            if call.id is not None and self._rng.random() > _REPEATED:
                return

    def _publish(self, event: dict[str, Any]) -> Published:
        return Published(event["data"], self._post("/publish", event))

    def _post(self, path: str, body: Any) -> str | None:
        try:
            status, answer, _ = request(self._port, "POST", path, body=body)
        except (OSError, http.client.HTTPException):
            return None
        return answer.decode() if status == 200 else None

    def _value(self) -> dict[str, Any]:
        """Return the target, the key and perhaps the end of a value.

        One channel may have the keys of another: the event tells its channel. All other
        targets have keys of their own.
        """
        draw = self._rng
        pair = sorted(draw.sample(CHANNELS, 2))
        targets: list[tuple[str, dict[str, Any]]] = [
            ("price", {"channel": draw.choice(CHANNELS)}),
            ("mine", {"user": draw.choice(USERS)}),
            (" and ".join(pair), {"channel": pair}),
        ]
        if self._to_all:
            targets.append(("everybody's", {}))
        name, target = draw.choice(targets)
        target["key"] = f"{name} {draw.randrange(_KEYS)}"
        if draw.random() < _DELETES:
            target["delete"] = True
        return self._perhaps_without_one(target)

    def _target(self) -> dict[str, Any]:
        draw = self._rng
        if draw.random() < _QUIET:
            return {"channel": QUIET_CHANNEL}
        targets: list[dict[str, Any]] = [
            {"channel": draw.choice(CHANNELS)},
            {"channel": draw.sample(CHANNELS, 2)},
            {"user": draw.choice(USERS)},
            {"user": draw.choice(USERS), "channel": draw.choice(CHANNELS)},
            {"client": draw.choice(self._client_ids)},
        ]
        if self._to_all:
            targets.append({})
        return self._perhaps_without_one(draw.choice(targets))

    def _perhaps_without_one(self, target: dict[str, Any]) -> dict[str, Any]:
        if self._rng.random() < 0.2:
            target["exclude_client"] = self._rng.choice(self._client_ids)
        return target


def main(port: str, name: str, reach: str, *client_ids: str) -> None:
    """Publish until standard input is closed."""
    publisher = Publisher(int(port), name, client_ids, to_all=reach == "all")
    for call in publisher.calls():
        sys.stdout.write(json.dumps([call.data, call.id]) + "\n")
        # Nothing is ever written to standard input, so it is readable once closed.
        if select.select([sys.stdin], [], [], publisher.pause())[0]:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
