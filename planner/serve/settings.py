"""What a server is started with; nothing of it is changed by who asks."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

MIB = 2**20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _workers() -> int:
    """A process a core, up to four: more would only wait for each other."""
    return max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Settings:
    """``allowed_hosts``: names under which the server may be reached, beside the address that it
    binds; ``online``: whether hub ids may be asked for over the network. Sizes in bytes, times in
    seconds."""

    host: str = "127.0.0.1"
    port: int = 8765
    allowed_hosts: tuple[str, ...] = ()
    online: bool = False
    workers: int = field(default_factory=_workers)
    most_body: int = 64 * 2**10
    most_upload: int = 64 * MIB
    seconds: float = 60.0
    recording_seconds: float = 600.0
    receive_seconds: float = 30.0
    most_waiting: int = 256
    most_jobs: int = 32

    @property
    def hosts(self) -> frozenset[str]:
        """Lower-case names and addresses that a Host header may hold."""
        own = {name.lower() for name in (*self.allowed_hosts, *LOOPBACK)}
        if self.host not in ("0.0.0.0", "::"):
            own.add(self.host.lower())
        return frozenset(own)
