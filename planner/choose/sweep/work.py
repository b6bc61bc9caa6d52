"""One question answered in whatever process it is: exactly as ``planner estimate`` answers it, with
what earlier questions of this process left."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.choose.sweep.asked import Asked
from planner.choose.sweep.columns import Status, answer_row, error_row
from planner.errors import PlannerError, QuestionError
from planner.moment import one_moment

#: One answer at a time in a process: what is kept is of one thread, and a cluster's worker may have
#: several.
_ALONE = threading.Lock()
#: What an answer is packed with: documents are repetitive, and are packed once.
LEVEL = 1


@dataclass(frozen=True)
class Reply:
    """``packed``: a member of a gzip file with two lines, the row and the document, both JSON;
    the second is empty where there is none."""

    id: str
    status: Status
    packed: bytes


def answered(one: Asked) -> Reply:
    """Every failure is a reply: a refusal of the question, or what went wrong on this machine."""
    from planner.answer.estimate import estimate
    from planner.plan.inputs.kept import keeping

    try:
        with _ALONE, keeping(_kept()):
            document = estimate(one.question())
        return Reply(one.id, "answered", _packed(one.id, answer_row(document), document))
    except PlannerError as error:
        refused = error.exit_code == QuestionError.exit_code
        return without(one, "refused" if refused else "failed", str(error))
    except Exception as error:  # a bug, or a machine that fails: the other questions go on
        return without(one, "failed", f"unexpected {type(error).__name__}: {error}"[:500])


def without(one: Asked, status: Status, error: str) -> Reply:
    """A reply that holds no answer."""
    return Reply(one.id, status, _packed(one.id, error_row(status, error), None))


def answered_together(questions: Iterable[Asked]) -> list[Reply]:
    """Questions one after another, at one moment: what a cluster's worker is sent. Its cores are
    the cluster's to give out: no second process records beside it."""
    os.environ.setdefault("PLANNER_PROCESSES", "1")
    with one_moment():
        return [answered(one) for one in questions]


@cache
def _kept() -> Any:
    from planner.plan.inputs.kept import Kept

    return Kept()


def _packed(id: str, row: dict[str, Any], document: dict[str, Any] | None) -> bytes:
    lines = [_json({"id": id, **row}), "" if document is None else _json(document)]
    return gzip.compress("\n".join([*lines, ""]).encode("utf-8", "replace"), LEVEL, mtime=0)


def _json(value: dict[str, Any]) -> str:
    """Figures are finite: NaN would not be JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def unpacked(packed: bytes) -> tuple[dict[str, Any], str | None]:
    """(row, the document's text)."""
    row, document, _ = gzip.decompress(packed).decode("utf-8").split("\n")
    return json.loads(row), document or None
