"""Documents as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from planner.report.formats.registry import Format


def as_json(document: Mapping[str, Any]) -> str:
    """The document as the ``--json`` output prints it. Figures are finite: NaN would not be
    JSON."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)


def _runs(records: Iterable[Any]) -> str:
    from planner.ledger import export

    return export.as_json(records)


FORMATS = (
    Format("answer", ".json", lambda answer: as_json(answer) + "\n", order=30),
    Format("runs", ".json", _runs, order=30),
)
