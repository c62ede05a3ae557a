"""The addresses that the tests' servers listen on."""

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
