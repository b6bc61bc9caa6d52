"""What a worker is asked, and what it answers: plain values that go through a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["estimate", "choose", "report", "count"]


@dataclass(frozen=True)
class Job:
    """``fields``: the question's, as they came. ``suffix``: of a report. ``upload``: the path of a
    file that the server itself wrote, to be counted; never a client's text."""

    kind: Kind
    fields: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""
    upload: str = ""


@dataclass(frozen=True)
class Progress:
    what: str
    done: float
    total: float | None


@dataclass(frozen=True)
class Answered:
    """The body of the answer, and its media type."""

    body: bytes
    media: str = "application/json"


@dataclass(frozen=True)
class Refused:
    """A question that is wrong, in words; ``status`` as HTTP counts it. ``fields``: which of them
    are wrong."""

    what: str
    where: str | None = None
    mend: str | None = None
    fields: tuple[str, ...] = ()
    status: int = 422

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "where": self.where,
            "mend": self.mend,
            "fields": list(self.fields),
        }


@dataclass(frozen=True)
class Unrecorded:
    """A trace lies nowhere: recording it takes seconds, and is another worker's."""


Reply = Progress | Answered | Refused | Unrecorded
