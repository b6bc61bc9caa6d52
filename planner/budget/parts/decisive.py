"""The few lines that change a decision, ranked by the mechanism that says them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from planner.answer.limits import broken_limits
from planner.budget.parts.subject import Json, Subject
from planner.choose.decisive import FIGURES, INPUT, RUN
from planner.choose.decisive import decisive as decisive_lines
from planner.choose.stages import cautions
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.units import format_bytes, format_usd

MOST = 5
#: A chance above this one belongs among what decides.
CHANCE = 0.10
#: So does a bill whose high end is so many times its median.
WIDE = 2.0


def decisive(subject: Subject) -> list[Json]:
    """At most five, each once: the limits first, then what is wrong with the question, memory, the
    price, the range, and what speaks against going this way."""
    found = dict.fromkeys(line for said in SAID_BY for line in said(subject))
    return [line.as_dict() for line in list(found)[:MOST]]


def _nothing(subject: Subject) -> Iterator[FirstLine]:
    """Why nothing is recommended."""
    if subject.option is not None:
        return
    yield from _first_lines(subject, lambda line: line["topic"] == "limit" and line["warning"])
    if not _has_limit_line(subject):
        broken = broken_limits(subject.document)
        yield from (FirstLine("limit", text, warning=True) for text in broken)
        if not broken:
            text = "nothing is recommended: no rule's strategy fits with a known price"
            yield FirstLine("limit", text, warning=True)


def _has_limit_line(subject: Subject) -> bool:
    lines = subject.document["first_lines"]
    return any(line["topic"] == "limit" and line["warning"] for line in lines)


def _limits(subject: Subject) -> Iterator[FirstLine]:
    """Limits that are broken by chance, or narrowly kept."""
    for limit in (subject.option or {}).get("limits", ()):
        missed = 1 - limit["chance_kept"]
        if missed > CHANCE or not limit["kept"]:
            text = f"{missed:.0%} chance that {FieldName(limit['limit'])} is not kept"
            yield FirstLine("limit", text, warning=True)


def _warnings(subject: Subject) -> Iterator[FirstLine]:
    """What of the question was left out, contradicted or not understood."""
    yield from _ranked(subject, (INPUT, RUN))


def _of_figures(subject: Subject) -> Iterator[FirstLine]:
    """What warns of the figures, those of the recommended option first."""
    yield from _ranked(subject, (FIGURES,))


def _ranked(subject: Subject, ranks: Collection[int]) -> Iterator[FirstLine]:
    """As the first screen ranks them, in its order."""
    lines = decisive_lines(subject.document, subject.option)
    yield from (FirstLine("run", line.text, warning=True) for line in lines if line.rank in ranks)


def _first_lines(subject: Subject, wanted: Callable[[Json], bool]) -> Iterator[FirstLine]:
    yield from (FirstLine(**line) for line in subject.document["first_lines"] if wanted(line))


def _memory(subject: Subject) -> Iterator[FirstLine]:
    memory = (subject.option or {}).get("memory")
    if not memory:
        return
    chance = memory.get("chance_out_of_memory") or 0.0
    if chance > CHANCE or memory.get("verdict") == "tight":
        used, total = memory["device_used_bytes"], memory["device_total_bytes"]
        text = (
            f"memory is tight: up to {format_bytes(used['p90'])} of {format_bytes(total)}, "
            f"{chance:.0%} chance to run out; {FieldName('micro_batch', 'gradient_checkpointing')} "
            "lower it"
        )
        yield FirstLine("run", text, warning=True)


def _price(subject: Subject) -> Iterator[FirstLine]:
    option = subject.option
    if option is not None and option["cost"] is None:
        text = f"no price of {option['gpu']} is known: {FieldName('price')} gives it"
        yield FirstLine("cost", text, warning=True)


def _range(subject: Subject) -> Iterator[FirstLine]:
    cost = (subject.option or {}).get("cost")
    if cost and cost["usd"]["p50"] > 0 and cost["usd"]["p90"] > WIDE * cost["usd"]["p50"]:
        high, middle = cost["usd"]["p90"], cost["usd"]["p50"]
        text = (
            f"the bill may be {high / middle:.1f} times the median: one of ten such runs costs "
            f"more than {format_usd(high)}"
        )
        yield FirstLine("cost", text)


def _against(subject: Subject) -> Iterator[FirstLine]:
    """What speaks against transfer learning on this data."""
    if subject.made is not None:
        for rule in cautions(subject.made.problem)[0]:
            yield FirstLine("data", f"{rule['reason']} ({rule['source']})")


#: In the order of what weighs most.
SAID_BY: tuple[Callable[[Subject], Iterable[FirstLine]], ...] = (
    _nothing,
    _limits,
    _memory,
    _warnings,
    _price,
    _range,
    _of_figures,
    _against,
)
