"""A link: what one device reaches others by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """``bytes_per_s``: nominal, one way, of one device's own; a network card that devices share is
    divided among them. ``latency_seconds``: of one hop, beyond what the collective library itself
    needs for it. ``kind``: a row of ``profiles/networks/kinds.csv``. ``generation``: the devices'
    compute capability without its minor part, blank for other vendors. ``peers``: how many devices
    share the rate, a wire each (a mesh); None where a switch gives all of it to any.
    ``multicast``: whether the switch itself adds and copies (NVLink SHARP)."""

    name: str
    kind: str
    bytes_per_s: float
    latency_seconds: float = 0.0
    generation: str = ""
    peers: int | None = None
    multicast: bool = False

    def towards(self, others: int) -> float:
        """Nominal bytes a second, one way, of one device towards ``others`` at once."""
        if self.peers is None:
            return self.bytes_per_s
        return self.bytes_per_s * min(1.0, others / self.peers)


#: Between devices of which no source says how they are joined: what was not measured is refused.
UNKNOWN = Link("unknown", "", 0.0)
