"""The settings of one hub. Does not know where their values come from."""

from dataclasses import dataclass

from ..events.record import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """The settings of one hub. The config keys of the same names document each one."""

    heartbeat_interval: float = 30.0
    connection_timeout: float = 60.0
    retry: tuple[float, float] = (2.0, 5.0)
    max_age: float = 3600.0
    max_clients: int = 10_000
    max_clients_per_user: int | None = 20
    max_clients_per_ip: int | None = None
    evict_oldest: bool = True
    max_channels: int = 32
    compress_min_bytes: int | None = 512
    presence: bool = False
    presence_grace: float = 15.0
    presence_people: int = 10_000
    memory: Retention = Retention(events=10_000, seconds=3600.0, bytes=16_777_216)
