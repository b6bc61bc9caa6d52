"""What several options say alike is one line of the answer, which names them; what concerns one
stands with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

EVERY = "all options"


def said_together(options: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The lines under ``key`` (warnings, assumptions) that more than one of the options' documents
    has, each with the options it holds for before it; they are taken out of the options. Nothing is
    lost: a line that one option has stays there."""
    holders: dict[str, list[int]] = {}
    for number, option in enumerate(options):
        for line in option[key]:
            holders.setdefault(line, []).append(number)
    shared = {line: numbers for line, numbers in holders.items() if len(set(numbers)) > 1}
    for option in options:
        option[key][:] = [line for line in option[key] if line not in shared]
    names = option_names(options)
    return [
        f"{', '.join(dict.fromkeys(names[number] for number in numbers))}: {line}"
        if len(set(numbers)) < len(options)
        else f"{EVERY}: {line}"
        for line, numbers in shared.items()
    ]


def option_names(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """``lora``; ``feature_extraction (cached features)`` where the strategy has other variants that
    are not meant."""
    return [
        f"{option['strategy']} ({option['variant']})"
        if option.get("variant")
        else option["strategy"]
        for option in options
    ]
