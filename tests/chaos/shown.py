"""The values that a page shows, if it asked for the current value of each key."""

from tests.kit.sse_parser import ParsedEvent


class Shown:
    """The value of each channel and key, as a page keeps it from its events.

    The channel is empty for an event that was not published to one channel alone.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], str] = {}

    def begin(self) -> None:
        """Forget all values: the stream begins with those that are still current."""
        self.values.clear()

    def take(self, event: ParsedEvent) -> None:
        """Show the value of an event, or remove the one that it ends."""
        fields = dict(event.ignored)
        if "key" not in fields:
            return
        name = fields.get("channel", ""), fields["key"]
        if "deleted" in fields:
            self.values.pop(name, None)
        else:
            self.values[name] = event.data


def is_state(event: ParsedEvent) -> bool:
    """Tell whether an event is a value from before the stream began."""
    return ("state", "true") in event.ignored
