"""First lines on data: what was understood, and what of the text does not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from planner.datasets.constants import constant
from planner.datasets.layout.accounting import Account
from planner.datasets.layout.shape import Layout, Shape
from planner.errors import FieldName
from planner.first_lines import FirstLine

WORDS = {
    "chat": "chat",
    "instruction": "prompts with answers",
    "preference": "preference pairs",
    "transfer": "sources with targets",
    "pair": "pairs of texts",
    "retrieval": "texts to embed",
    "span": "questions with passages",
    "text": "text",
    "ids": "token lists",
    "none": "no text",
}
MOST_NAMES = 4
SHOWN_ROLES = ("system", "tools", "history", "reasoning", "negative")


def understood(
    layout: Layout,
    samples: int,
    mean: float | None,
    medium: str = "",
    classes: int | None = None,
) -> FirstLine:
    """One sentence: ``4 records of chat (messages, with system and tools), mean 1,020 tokens``.
    ``mean``: tokens a record, None where there are none; ``medium``: ``sounds of mean 3.1 s``."""
    kinds: dict[str, float] = {}
    for shape, share in layout.shapes:
        kinds[_described(shape)] = kinds.get(_described(shape), 0.0) + share
    if mean is None:
        of = medium or "no text"
    elif len(kinds) == 1:
        of = f"{medium} with {next(iter(kinds))}" if medium else next(iter(kinds))
    else:
        of = "mixed shapes: " + "; ".join(
            f"{_percent(share)} {words}" for words, share in list(kinds.items())[:MOST_NAMES]
        )
    said = f"{samples:,} record{'s' if samples > 1 else ''} of {of}"
    said += "" if mean is None else f", mean {mean:,.0f} tokens"
    if classes and classes > 1 and is_classified(layout, bool(medium)):
        said += f", {classes:,} classes"
    return FirstLine("data", said)


def is_classified(layout: Layout, media: bool) -> bool:
    """Texts and media are told by their label; beside questions and answers it says how records
    were gathered."""
    return media or layout.record_type in ("text", "pair", "none")


def _described(shape: Shape) -> str:
    used = ", ".join(shape.inputs[:MOST_NAMES])
    target = shape.target
    arrow = f" → {target}" if target else ""
    more = [role for role in SHOWN_ROLES if shape.paths(role)]
    beside = f", with {' and '.join(more)}" if more else ""
    return (
        f"{WORDS[shape.record_type]} ({used}{arrow}{beside})"
        if used or arrow
        else WORDS[shape.record_type]
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if 0.01 <= share < 0.995 or share == 1 else f"{share:.1%}"


def left_out(
    layout: Layout, found: Account, mean: float | None, is_supervised: bool = True
) -> Iterator[FirstLine]:
    """What of the text is left out, with the tokens that counting it would add; a warning above
    the large share. ``mean``: tokens a record as counted."""
    for said in dict.fromkeys(said for shape, _ in layout.shapes for said in shape.said):
        yield FirstLine("data", said)
    share = found.left_share
    if share > constant("small_share"):
        names = [f"{path!r} ({_percent(part)})" for path, part in found.shares().items()]
        shown = ", ".join(names[:MOST_NAMES])
        shown += f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        added = ""
        if mean and found.counted:
            tokens = mean * sum(found.left.values()) / found.counted
            added = f"; counting them adds about {tokens:,.0f} tokens a record"
        mend = _mend(layout, found) if share > constant("large_share") else ""
        large = bool(mend) and not layout.wanted
        yield FirstLine(
            "left_out", f"{_percent(share)} of the text is left out: {shown}{added}{mend}", large
        )
    if found.rejected and is_supervised:
        yield FirstLine(
            "left_out",
            f"priced as supervised training on the chosen answers: the rejected answers "
            f"({_percent(found.rejected_share)} of the text) count only in preference training: "
            f"{FieldName('objective')} dpo prices both halves of a pair",
        )
    kinds = Counter({path: n for path, n in found.odd.items() if path != layout.label})
    odd = sum(kinds.values())
    if odd > constant("odd_share") * max(1, found.total):
        names = ", ".join(repr(path) for path, _ in kinds.most_common(MOST_NAMES))
        yield FirstLine(
            "left_out",
            f"{_percent(odd / found.total)} of what the records spell is no language and does not "
            f"count: {names}",
        )


def _mend(layout: Layout, found: Account) -> str:
    """How the text that is left out comes to count."""
    if any(path in layout.columns for path in found.left):
        return f": name the columns with {FieldName('text_columns')}"
    return ": give it a column of its own"


def flags_said(layout: Layout) -> tuple[FirstLine, ...]:
    """Columns of 0 and 1 that are a class each."""
    shown = ", ".join(map(repr, layout.flags))
    return (FirstLine("data", f"each of {shown} is a class"),) if layout.flags else ()


def sampled_note(sampled: int, samples: int, relative_error: float) -> tuple[str, ...]:
    """How many of the records were counted, where not all were."""
    if sampled >= samples:
        return ()
    about = ""
    if relative_error:
        about = f" (their number is known to ±{relative_error:.1%})"
    return (f"{sampled:,} of {samples:,} records were counted{about}",)
