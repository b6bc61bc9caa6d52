"""Which of all the lines of a document change a decision, in which order: what of the input was
left out or not understood, what does not run as asked, what warns of the figures, then what was
assumed. By topic and by who says it, never by the words of a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Topics of what was given: a warning on one says that another question may have been answered.
GIVEN = ("left_out", "data", "model", "task")
#: Topics with lines of their own on a screen: what of a file is not in the answer, the limits, and
#: the project beside the run.
OWN_LINES = ("file", "limit", "cost")
#: Topics whose first line only says again what was asked or what comes out.
RESTATED = ("model", "task", "data", "run")


@dataclass(frozen=True, slots=True)
class Decisive:
    """One line. ``rank``: the less, the more it matters; from ``ASSUMED`` on nothing warns."""

    text: str
    warning: bool
    rank: int


INPUT, RUN, FIGURES, ASSUMED = range(4)


def decisive(document: Mapping[str, Any], chosen: Mapping[str, Any] | None) -> list[Decisive]:
    """All lines that may change a decision, the weightiest first. ``document``: of ``estimate`` or
    ``choose``; ``chosen``: the option or way that is recommended, whose warnings come before those
    of the others."""
    lines = [line for line in document.get("first_lines", ()) if line["topic"] not in OWN_LINES]
    found = [
        Decisive(line["text"], True, INPUT if line["topic"] in GIVEN else RUN)
        for line in lines
        if line["warning"]
    ]
    found.sort(key=lambda line: line.rank)
    warnings = [*(chosen["warnings"] if chosen else ()), *document["warnings"]]
    warnings += _of_others(document, chosen)
    of_file = {text for text, _ in on_topic(document, "file")}
    found += [Decisive(text, True, FIGURES) for text in warnings if text not in of_file]
    restated: set[str] = set()
    for line in lines:
        if line["warning"]:
            continue
        if line["topic"] in RESTATED and line["topic"] not in restated:
            restated.add(line["topic"])
        else:
            found.append(Decisive(line["text"], False, ASSUMED))
    unique = {line.text: line for line in reversed(found)}
    return [line for line in found if unique.pop(line.text, None) is not None]


def _of_others(document: Mapping[str, Any], chosen: Mapping[str, Any] | None) -> list[str]:
    """Warnings of what is not recommended, with its name; each once."""
    ways = [row["way"] for row in document.get("strategies", ()) if row.get("way")]
    own = set(chosen["warnings"] if chosen else ()) | set(document["warnings"])
    names: dict[str, list[str]] = {}
    for option in (*document.get("options", ()), *ways):
        for text in option["warnings"]:
            if text not in own:
                names.setdefault(text, []).append(option["strategy"])
    return [f"{', '.join(dict.fromkeys(whom))}: {text}" for text, whom in names.items()]


def on_topic(document: Mapping[str, Any], topic: str) -> list[tuple[str, bool]]:
    """(text, whether it warns) of the first lines on one topic."""
    lines = document.get("first_lines", ())
    return [(line["text"], line["warning"]) for line in lines if line["topic"] == topic]
