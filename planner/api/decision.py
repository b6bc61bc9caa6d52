"""What ``choose`` returns: the document of ``planner choose --json`` with typed views on it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from planner.answer.schema_of_option import Figure, Part
from planner.api.answer import Document, NothingRecommended
from planner.api.shown import of_decision, short_decision

if TYPE_CHECKING:
    import pandas


class Way(Part):
    """One strategy on one device count at one provider. Hours wall-clock, USD of the run (of the
    project where requests are asked for: ``project_usd``). ``wall_hours`` is None where the way is
    paid by the token."""

    strategy: str
    variant: str | None
    gpu: str | None
    gpus: int = Field(ge=0)
    provider: str | None
    usd: Figure
    wall_hours: Figure | None = None
    gpu_hours: Figure | None = None
    usd_per_gpu_hour: float | None = None
    price_date: str | None = None
    keeps_limits: bool | None = None
    why: str | None = None
    warnings: list[str] = []

    @property
    def name(self) -> str:
        """``lora on 2 × NVIDIA L4 at runpod``."""
        count = f"{self.gpus} × " if self.gpus > 1 else ""
        on = f" on {count}{self.gpu}" if self.gpu else ""
        return f"{self.strategy}{on}{f' at {self.provider}' if self.provider else ''}"


class Decision(Document):
    """The document as a dictionary, and its ways by name."""

    @property
    def best(self) -> Way:
        """The recommended way. Raises NothingRecommended, which says what stands in the way."""
        if self["recommended"] is not None:
            return Way.model_validate(self["recommended"])
        from planner.choose.document import broken

        why = "; ".join(broken(self))
        raise NothingRecommended(f"nothing can be recommended: {why}", mend="Raise a limit")

    @property
    def why(self) -> str | None:
        """Why the best way is recommended; None where none is."""
        return (self["recommended"] or {}).get("why")

    @property
    def cheapest(self) -> Way | None:
        """The cheapest of all strategies that keeps the limits; None where none does."""
        return None if self["cheapest"] is None else Way.model_validate(self["cheapest"])

    @cached_property
    def front(self) -> list[Way]:
        """Ways of which no other is both cheaper and faster, as many as are shown."""
        return [Way.model_validate(way) for way in self["front"]["ways"]]

    def to_pandas(self) -> pandas.DataFrame:
        """The front: a row a way, a column a figure with its unit in the name."""
        import pandas

        return pandas.DataFrame([_row(way) for way in self.front])

    def __repr__(self) -> str:
        return short_decision(self)

    def _repr_html_(self) -> str:
        return of_decision(self).html()

    def _repr_markdown_(self) -> str:
        return of_decision(self).markdown()


def _row(way: Way) -> dict[str, str | float | bool | None]:
    hours = way.wall_hours
    return {
        "strategy": way.strategy,
        "variant": way.variant,
        "gpu": way.gpu,
        "gpus": way.gpus,
        "provider": way.provider,
        **{f"hours_{p}": hours and getattr(hours, p) for p in ("p10", "p50", "p90")},
        **{f"usd_{p}": getattr(way.usd, p) for p in ("p10", "p50", "p90")},
        "usd_per_gpu_hour": way.usd_per_gpu_hour,
        "price_date": way.price_date,
        "keeps_limits": way.keeps_limits,
    }
