"""Two answers side by side, as parts of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.diff.figures import FIGURES
from planner.report.views.explaining.part import Part, aligned
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, hours_text, usd_text

Document = Mapping[str, Any]
Word = Callable[[float], str]
#: Figures with their words, in the order in which they are shown.
WORDS: dict[str, tuple[str, Word]] = {
    "usd": ("Cost", usd_text),
    "wall_hours": ("Run", hours_text),
    "gpu_hours": ("GPU time", hours_text),
    "device_used_bytes": ("Memory", bytes_text),
}
MORE, LESS, SAME = "+", "−", "no change"
#: A value longer than this is cut short in a table of what was asked.
LONGEST = 60


def parts(document: Document, *, brief: bool = False) -> list[Part]:
    """``brief``: the sentence, the gate and the causes."""
    shown = [headline(document), gate(document), causes(document)]
    if not brief:
        shown += [question(document), figures(document), strategies(document), notes(document)]
    return [part for part in shown if part.lines or (part.table and part.table.rows)]


def headline(document: Document) -> Part:
    """The difference in a sentence or two."""
    one, two = document["recommended"]["a"], document["recommended"]["b"]
    if document["a"] is None or document["b"] is None:
        return _alone(document, "New" if document["a"] is None else "Gone")
    labels = f"{clean(document['a']['label'])} → {clean(document['b']['label'])}"
    if one is None or two is None:
        which = "before" if one is None else "after"
        other = two if one is None else one
        text = f"Nothing is recommended {which}"
        text += f"; {_option(other)} on the other side." if other else " on either side."
        if one is None and two is None:
            text = "Nothing is recommended on either side."
        return Part("", (labels, text))
    change = document["recommended"]["change"]
    moved = f"{_option(one)} → {_option(two)}" if _option(one) != _option(two) else _option(one)
    figures_ = ", ".join(
        _moves(one[name], two[name], change[name], WORDS[name][1])
        for name in ("usd", "wall_hours", "device_used_bytes")
        if one[name] is not None and two[name] is not None
    )
    return Part("", (labels, f"{moved}: {figures_}."))


def _moves(before: float, after: float, change: float, word: Word) -> str:
    """``$1.20 → $1.50 (+$0.30)``; what stays is said once."""
    more = signed(change, word)
    return word(after) if more == SAME else f"{word(before)} → {word(after)} ({more})"


def _alone(document: Document, what: str) -> Part:
    """Of a project that is new or gone, what it costs."""
    label = (document["a"] or document["b"])["label"]
    found = document["recommended"]["a"] or document["recommended"]["b"]
    if found is None:
        return Part("", (f"{what}: {clean(label)}; nothing is recommended.",))
    said = ", ".join(
        WORDS[name][1](found[name])
        for name in ("usd", "wall_hours", "device_used_bytes")
        if found[name] is not None
    )
    return Part("", (f"{what}: {clean(label)}", f"{_option(found)}: {said}."))


def _option(figures_: Document) -> str:
    words = figures_["strategy"].replace("_", " ")
    if figures_["variant"]:
        words += f" ({figures_['variant']})"
    if figures_["gpu"]:
        count = f"{figures_['gpus']} × " if (figures_["gpus"] or 1) > 1 else ""
        words += f" on {count}{figures_['gpu']}"
    return clean(words)


def signed(value: float | None, word: Word) -> str:
    """``+$1.20``; what is too small to be said is no change."""
    if value is None:
        return DASH
    text = word(abs(value))
    if not any(c in "123456789" for c in text):
        return SAME
    return f"{MORE if value > 0 else LESS}{text}"


def gate(document: Document) -> Part:
    broken = document["gate"]["broken"]
    return Part("", tuple(f"Limit broken: {clean(line)}" for line in broken), warns=True)


def causes(document: Document) -> Part:
    """A row a cause, in the order in which the changes were made."""
    if document["a"] is None or document["b"] is None:
        return Part("")
    if document["no_causes"]:
        line = f"Not worked out: {clean(document['no_causes'])}"
        return Part("Why", (line,))
    found = document["causes"]
    if not found:
        return Part("Why", ("Nothing changed that the answer depends on.",))
    rows = tuple(
        (
            _cause(cause),
            *(_cell(cause["delta"], name) for name in ("usd", "wall_hours")),
            _cell(cause["delta"], "device_used_bytes"),
            _moved(cause),
        )
        for cause in found
    )
    headers = ("Change", "Cost", "Run", "Memory", "Recommended then")
    notes_ = ("Each change is made after those above it; together they are the whole difference.",)
    return Part(
        "Why",
        table=_even(Table(headers, rows), (1, 2, 3)),
        right=(1, 2, 3),
        drop=(4,),
        notes=notes_,
    )


def _cause(cause: Document) -> str:
    if not cause["fields"]:
        return clean(cause["what"])
    return "; ".join(
        f"{clean(one['field'])}: {_change(one['before'], one['after'])}" for one in cause["fields"]
    )


def _change(before: Any, after: Any) -> str:
    if before == after:
        return f"{value(after)}, other contents"
    return f"{value(before)} → {value(after)}"


def value(given: Any) -> str:
    """What was asked, on one line."""
    if given is None:
        return "left open"
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, (list, tuple)):
        text = ", ".join(str(each) for each in given)
    elif isinstance(given, (int, float)):
        text = f"{given:,}"
    else:
        text = str(given)
    text = clean(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _cell(change: Document, name: str) -> str:
    return signed(change[name], WORDS[name][1])


def _moved(cause: Document) -> str:
    before, after = cause["before"], cause["after"]
    text = _option(after) if after else "nothing"
    return text if before is None or after is None or _option(before) != text else "as before"


def question(document: Document) -> Part:
    rows = tuple(
        (
            clean(one["field"]),
            value(one["a"]),
            value(one["b"]) if one["a"] != one["b"] else f"{value(one['b'])}, other contents",
        )
        for one in document["question"]
    )
    return Part("What was asked otherwise", table=Table(("Field", "Before", "After"), rows))


def figures(document: Document) -> Part:
    pair = document["recommended"]
    return Part(
        "The recommended option",
        table=_even(Table(("", "Before", "After", "Change"), tuple(_figures(pair))), (1, 2, 3)),
        right=(1, 2, 3),
    )


def _figures(pair: Document) -> Sequence[tuple[str, ...]]:
    one, two = pair["a"] or {}, pair["b"] or {}
    return [
        (
            title,
            _said(one.get(name), word),
            _said(two.get(name), word),
            signed(pair["change"][name], word),
        )
        for name in FIGURES
        for title, word in (WORDS[name],)
    ]


def _said(given: float | None, word: Word) -> str:
    return DASH if given is None else word(given)


def strategies(document: Document) -> Part:
    """Each strategy's cost and memory on either side."""
    rows: list[tuple[str, ...]] = []
    for pair in document["strategies"]:
        one, two = pair["a"] or {}, pair["b"] or {}
        name = clean(pair["name"].replace("_", " "))
        if two.get("fits") is False:
            name += " (does not fit after)"
        rows.append(
            (
                name,
                _said(one.get("usd"), usd_text),
                _said(two.get("usd"), usd_text),
                _cell(pair["change"], "usd"),
                _cell(pair["change"], "wall_hours"),
                _said(two.get("device_used_bytes"), bytes_text),
                _cell(pair["change"], "device_used_bytes"),
            )
        )
    headers = ("Strategy", "Cost before", "After", "Change", "Run", "Memory after", "Change of it")
    right = (1, 2, 3, 4, 5, 6)
    return Part(
        "Every strategy",
        table=_even(Table(headers, tuple(rows)), right),
        right=right,
        drop=(6, 5, 4, 1),
    )


def notes(document: Document) -> Part:
    return Part("Notes", tuple(clean(note) for note in document["notes"]))


def _even(table: Table, right: Sequence[int]) -> Table:
    """Numbers of a column with their points below each other."""
    columns = list(zip(*table.rows)) if table.rows else []
    even = [
        aligned(cells) if index in right else list(cells) for index, cells in enumerate(columns)
    ]
    return Table(table.headers, tuple(zip(*even)) if even else ())
