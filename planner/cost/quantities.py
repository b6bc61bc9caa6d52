"""What is paid as quantity × price: the lines that a bill is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """``amount`` of ``unit`` at ``usd_per_unit``; ``source`` and ``date`` (ISO) of the price, None
    where the user gave it."""

    name: str
    amount: float
    unit: str
    usd_per_unit: float
    source: str | None = None
    date: str | None = None
    note: str | None = None

    @property
    def usd(self) -> float:
        return self.amount * self.usd_per_unit
