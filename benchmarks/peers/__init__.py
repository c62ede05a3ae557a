"""The servers that are compared, each behind the same small contract."""

from benchmarks.peers.base import Peer, PeerDied
from benchmarks.peers.better_sse import BetterSSE
from benchmarks.peers.flask_socketio import FlaskSocketIO
from benchmarks.peers.flask_sse import FlaskSSE
from benchmarks.peers.floor import Floor
from benchmarks.peers.nchan import Nchan
from benchmarks.peers.ours import ByGenerator, BySocket, Unyielding
from benchmarks.peers.sse_starlette import SSEStarlette

#: The servers, in the order of the tables.
PEERS: tuple[type[Peer], ...] = (
    Floor,
    BySocket,
    ByGenerator,
    Nchan,
    BetterSSE,
    SSEStarlette,
    FlaskSocketIO,
    FlaskSSE,
)

__all__ = ["PEERS", "Peer", "PeerDied", "Unyielding"]
