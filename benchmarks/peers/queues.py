"""The usual first attempt without the hub: a generator and a queue for each client."""

from typing import ClassVar

from benchmarks.peers.ours import ByGenerator


class Queues(ByGenerator):
    """The baseline of a delivery by generator, on the same server.

    It has no ids, no history, no heartbeat and no limits, and stores no event.
    """

    name = "queues"
    label = "a generator and a queue, by hand"
    settings: ClassVar[dict[str, str]] = {}
    app = "baseline"

    @classmethod
    def version(cls) -> str:
        """Return the place of the app."""
        return "benchmarks/apps.py"

    def served(self) -> str:
        """Return no text: it has no statistics."""
        return ""
