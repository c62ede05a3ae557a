"""A reader of an answer that drops its connection at random places, and comes back."""

import http.client
import random
import threading
import time

from tests.kit.sse_parser import ParsedEvent, Parser
from tests.live.server import Connection, Server

ALICE = {"Authorization": "Bearer alice"}


class DroppingReader(threading.Thread):
    """A reader that drops its connection at random places, and comes back."""

    def __init__(self, server: Server, answer_id: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.answer_id = answer_id
        self._server = server
        self._draw = random.Random(seed)
        self.events: list[ParsedEvent] = []
        self.drops = 0

    def run(self) -> None:
        last_id = ""
        while not any(event.type in ("done", "error") for event in self.events):
            headers = {**ALICE, "Last_Event_ID": last_id} if last_id else ALICE
            path = f"/lasting/read/{self.answer_id}"
            try:
                connection = Connection(self._server.port, path, **headers)
            except (OSError, http.client.HTTPException):
                # Its worker was killed a moment ago.
                time.sleep(0.05)
                continue
            # The rest of a block that was cut is lost, as in a browser.
            parser = Parser()
            for chunk in connection:
                self.events += parser.feed(chunk)
                if self._draw.random() < 0.2:
                    break
            connection.close()
            last_id = parser.last_event_id or last_id
            self.drops += 1
