"""Parts of the tests, for runs that share them: ``make test-dates`` runs one part on each later
day.

``PLANNER_TEST_PART=1/2`` runs the first of two. The part that a test is in follows from its name
alone, so it stays there whatever tests come or go, and any two tests of one file, or two parameters
of one test, are as likely in different parts as in the same.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PLANNER_TEST_PART"


@dataclass(frozen=True)
class Part:
    """The ``number``-th of ``of`` parts, counted from one."""

    number: int
    of: int

    @classmethod
    def told(cls, text: str) -> "Part":
        """``1/2`` is the first of two. Raises ValueError where it is none: no test may be left out
        by a slip of the pen."""
        try:
            number, of = (int(one) for one in text.split("/"))
        except ValueError:
            raise ValueError(f"{VARIABLE}={text!r} is no part. Give 1/2 or 2/2") from None
        if not 1 <= number <= of:
            raise ValueError(f"{VARIABLE}={text!r}: parts are counted from 1 to {of}")
        return cls(number, of)

    def holds(self, name: str) -> bool:
        """Whether the test of this name is in the part: every name is in exactly one."""
        return zlib.crc32(name.encode()) % self.of == self.number - 1


def is_left_out(path: Path, marks: str) -> bool:
    """Whether a file holds no test of the one mark that is asked for (``-m gpu``)."""
    if marks != "gpu" or path.suffix != ".py" or not path.name.startswith("test_"):
        return False
    return "mark.gpu" not in path.read_text(encoding="utf-8")
