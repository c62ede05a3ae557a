"""The writer: clients that leave, and streams that end."""

import os
import socket
import threading

import pytest

from flask_sse_hub import CloseReason
from flask_sse_hub.events.address import user
from flask_sse_hub.hub.delivery.socket_sink import ClientSocket
from tests.kit.hand import HandHub
from tests.kit.reader import wait_until
from tests.kit.sockets import Peer, block, join, peers, turn


def wait_for(hub: HandHub, *, connections: int) -> None:
    def look() -> bool:
        turn(hub)
        return hub.hub.stats().connections == connections

    wait_until(look)


def _is_told(hub: HandHub, peer: Peer) -> bool:
    hub.parts.writer._peers_changed()
    hub.parts.writer.step()
    return peer.sink._received == 1


class TestPeers:
    def test_changes_of_peers_are_handled_between_fan_outs(self) -> None:
        """The event loop only signals that there are changes."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.send(b"x")
            wait_until(lambda: _is_told(hub, peer))

    def test_a_peer_that_closes_is_removed(self) -> None:
        """No traffic is needed: the peer answers a probe with a reset."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.close()
            wait_for(hub, connections=0)
            assert hub.hub.stats().closed == {"client_gone": 1}

    def test_a_peer_that_resets_is_removed(self) -> None:
        """The hub removes the client at once."""
        hub = HandHub()
        with peers(hub) as (peer,):
            linger = b"\1\0\0\0\0\0\0\0"
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            peer.socket.close()
            wait_for(hub, connections=0)

    def test_a_peer_that_closes_its_half_goes_on_receiving(self) -> None:
        """`nc` does so, and so does a client with no more to send."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.shutdown(socket.SHUT_WR)
            turn(hub)
            hub.publish("still here")
            peer.read_until(["still here"])
            assert b":\n" in peer.raw
            assert hub.hub.stats().connections == 1

    def test_a_write_that_fails_ends_the_stream(self) -> None:
        """The end is counted once, and the other clients receive their events."""
        hub = HandHub()
        with peers(hub, 2) as (peer, other):
            peer.socket.close()
            for _ in range(3):
                hub.publish("x")
                hub.bring()
            wait_for(hub, connections=1)
            other.read_until(["x"] * 3)
            assert hub.hub.stats().closed == {"client_gone": 1}

    def test_bytes_from_a_client_are_thrown_away(self) -> None:
        """The bytes are discarded up to a bound and never reach anybody."""
        hub = HandHub()
        with peers(hub) as (peer,):
            peer.socket.send(b"GET / HTTP/1.1\r\n\r\n")
            turn(hub)
            hub.publish("x")
            peer.read_until(["x"])

    def test_a_client_that_sends_without_end_is_closed(self) -> None:
        """Such a client does not follow the protocol."""
        hub = HandHub()
        with peers(hub) as (peer,):

            def push() -> bool:
                try:
                    peer.socket.send(b"x" * 1000)
                except OSError:
                    return True
                turn(hub)
                return not hub.hub.stats().connections

            wait_until(push)
            assert hub.hub.stats().closed == {"protocol": 1}


class TestEnds:
    def test_a_drain_sends_a_retry_delay_and_closes(self) -> None:
        """Each client's last line is a retry delay of its own."""
        hub = HandHub()
        with peers(hub, 3) as them:
            thread = threading.Thread(target=hub.hub.drain)
            thread.start()
            for peer in them:
                peer.parser.retry_ms = None
                peer.read_to_the_end()
                assert peer.parser.retry_ms is not None
                assert peer.chunks is None or peer.chunks.complete
            thread.join(10.0)
            assert hub.hub.stats().closed == {"shutdown": 3}

    @pytest.mark.parametrize(
        "reason", [CloseReason.SESSION_ENDED, CloseReason.DISCONNECTED]
    )
    def test_a_disconnect_does_not_wait_for_an_unfinished_frame(
        self, reason: CloseReason
    ) -> None:
        """Such a client may no longer receive the rest."""
        hub = HandHub()
        with peers(hub) as (peer,):
            block(peer)
            hub.parts.lifecycle.close(peer.client, reason)
            hub.bring()
            assert hub.hub.stats().closed == {reason.value: 1}

    def test_after_a_disconnect_nothing_more_is_fanned_out_to_the_client(self) -> None:
        """Events that come before its socket is closed are not sent either."""
        hub = HandHub()
        with peers(hub, user="ann") as (peer,):
            hub.parts.lifecycle.close(peer.client, CloseReason.SESSION_ENDED)
            hub.publish("private", to=user("ann"))
            peer.read_to_the_end()
            assert peer.data == []

    def test_an_evicted_client_receives_a_long_retry_delay(self) -> None:
        """At once, it would evict the next client, which would do the same."""
        hub = HandHub(max_clients_per_user=1)
        with peers(hub, user="ann") as (peer,):
            peer.parser.retry_ms = None
            other = join(hub, "other", user="ann")
            peer.read_to_the_end()
            assert peer.parser.retry_ms is not None
            assert 10_000 <= peer.parser.retry_ms <= 30_000
            assert hub.hub.stats().closed == {"evicted": 1}
            other.socket.close()

    def test_listeners_are_called_outside_the_fan_out(self) -> None:
        """An app's listener that waits does not hold up the fan-out."""
        from flask_sse_hub.hub.clients.notices import Listeners

        ended: list[CloseReason] = []
        hub = HandHub(
            listeners=Listeners(
                connected=lambda stats: None,
                disconnected=lambda stats, reason: ended.append(reason),
            )
        )
        with peers(hub) as (peer,):
            hub.parts.lifecycle.close(peer.client, CloseReason.AGE)
            while hub.parts.writer.step():
                assert ended == []
            hub.parts.notices.tell_waiting()
            assert ended == [CloseReason.AGE]

    def test_closing_the_hub_closes_the_sockets(self) -> None:
        """Tests and scripts close a hub; a worker drains it."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.hub.close()
            hub.parts.writer.run()
            assert peer.sink.descriptor == -1

    def test_a_process_that_exits_drains_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its server does not know of the streams. A forked child drains nothing."""
        hub = HandHub()
        with peers(hub) as (peer,):
            with monkeypatch.context() as child:
                child.setattr(os, "getpid", lambda: 0)
                hub.hub._drain_at_exit()
            assert peer.client.close_reason is None
            thread = threading.Thread(target=hub.hub._drain_at_exit)
            thread.start()
            peer.read_to_the_end()
            thread.join(10.0)
            assert hub.hub.stats().closed == {"shutdown": 1}

    def test_a_forked_child_leaves_the_sockets_alone(self) -> None:
        """The child would write every event twice, and its exit end all streams."""
        hub = HandHub()
        with peers(hub) as (peer,):
            pid = os.fork()
            if pid == 0:
                writer = hub.parts.writer
                let_go = peer.sink.descriptor == -1 and writer._stopped
                os._exit(int(not let_go))
            assert os.waitpid(pid, 0)[1] == 0
            hub.publish("x")
            peer.read_until(["x"])

    def test_an_abandoned_hub_neither_writes_nor_ends_a_stream(self) -> None:
        """The parent, to which the stream belongs, goes on."""
        hub = HandHub()
        with peers(hub) as (peer,):
            hub.hub.abandon()
            hub.publish("x")
            hub.follow()
            hub.parts.writer.step()
            assert peer.sink.descriptor == -1
            assert peer.client.close_reason is None


@pytest.mark.parametrize("reason", [CloseReason.AGE, CloseReason.SESSION_ENDED])
def test_a_run_that_a_closed_client_did_not_take_is_not_counted(
    reason: CloseReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statistics name what a client took, also if it is closed in a fan-out."""
    hub = HandHub()
    with peers(hub) as (peer,):
        before = hub.parts.registry.written(peer.client)
        hub.publish("x")
        hub.follow()
        run = hub.parts.dispatcher.fan_out()
        assert run is not None
        assert run.direct == [peer.sink.socket]
        hub.parts.lifecycle.close(peer.client, reason)
        with monkeypatch.context() as patch:
            patch.setattr(ClientSocket, "send", _full, raising=False)
            hub.parts.writer.write_run(run)
        assert hub.parts.registry.written(peer.client)[:2] == before[:2]


def _full(connection: ClientSocket, data: bytes) -> int:
    raise BlockingIOError
