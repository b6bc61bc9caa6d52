"""One option of an answer with its figures by name, typed by the answer's schema."""

from __future__ import annotations

from collections.abc import Callable

from planner.answer.schema import Option as OptionOfDocument
from planner.answer.schema_of_option import Figure
from planner.errors import PlannerError
from planner.units import gib


class NothingHere(PlannerError):
    """A figure that this option does not have."""


class Option(OptionOfDocument):
    """One way to do it. The parts ``memory``, ``step``, ``run`` and ``cost`` are those of the
    document, None where there is none; the properties below refuse in one line instead, so that
    ``option.hours.p50`` needs no check."""

    @property
    def hours(self) -> Figure:
        """Wall-clock hours of the run. Raises NothingHere where nothing is trained on a device."""
        if self.run is None:
            raise self._has_no("hours: nothing is trained on a device of yours")
        return self.run.wall_hours

    @property
    def gpu_hours(self) -> Figure:
        """Device-hours over all devices. Raises NothingHere as ``hours``."""
        if self.run is None:
            raise self._has_no("GPU-hours: nothing is trained on a device of yours")
        return self.run.gpu_hours

    @property
    def usd(self) -> Figure:
        """US dollars of the run. Raises NothingHere where no price is known."""
        if self.cost is None:
            raise self._has_no("cost: no price is known for its device. Give price=")
        return self.cost.usd

    @property
    def memory_gib(self) -> Figure:
        """GiB of one device at the peak, as the driver's tools show it. Raises NothingHere where
        nothing is trained on a device."""
        if self.memory is None:
            raise self._has_no("memory: nothing is trained on a device of yours")
        return _changed(self.memory.device_used_bytes, gib)

    @property
    def gpu_memory_gib(self) -> float:
        """GiB that one device has for a program. Raises NothingHere as ``memory_gib``."""
        if self.memory is None:
            raise self._has_no("device")
        return gib(self.memory.device_total_bytes)

    @property
    def name(self) -> str:
        """``lora on NVIDIA L4``; ``prompting`` where there is no device."""
        what = ", ".join(part for part in (self.strategy, self.variant) if part)
        if self.gpu is None:
            return what
        return f"{what} on {f'{self.gpus} × ' if self.gpus > 1 else ''}{self.gpu}"

    def __repr__(self) -> str:
        return f"<Option {self.name!r}>"

    def __str__(self) -> str:
        return self.name

    def _has_no(self, what: str) -> NothingHere:
        return NothingHere(f"{self.name} has no {what}")


def _changed(figure: Figure, unit: Callable[[float], float]) -> Figure:
    return Figure(p10=unit(figure.p10), p50=unit(figure.p50), p90=unit(figure.p90))
