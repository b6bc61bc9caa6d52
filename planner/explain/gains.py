"""The figures by which a change is shown: with the micro-batch chosen again where better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def gained(change: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is saved, the amounts after it)."""
    if change["refitted"] is not None:
        return change["refitted_saved"], change["refitted"]
    return change["saved"], change["after"]
