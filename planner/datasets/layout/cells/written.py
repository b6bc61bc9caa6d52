"""Conversations written as one text: ``Human: … Assistant: …``, ``### Human: …### Assistant: …``,
``[INST] … [/INST] …``, or a chat template's own marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.datasets.constants import constant
from planner.datasets.conversation import Turn
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import turn

_NAME = r"[A-Za-z]+(?:[ _][A-Za-z]+)?"
#: Marks of a speaker by their style, searched in a text behind a newline. Brackets and hashes may
#: stand inside of a line, as names in capitals may, others only at its start.
STYLES = {
    "tagged": re.compile(
        r"<\|?(?:im_start|start_header_id|start_of_turn)\|?>(\w+)(?:<\|end_header_id\|>)?\s*"
    ),
    "barred": re.compile(r"<[|｜](\w+)[|｜]>:?\s*"),
    "inst": re.compile(r"(\[/?INST\])\s*"),
    "hashed": re.compile(rf"\#{{2,6}}[ ]?({_NAME})(?:[ ]?:[ ]*|(?=\n))"),
    "line": re.compile(rf"\n[ #*\[<]{{0,4}}({_NAME})[ *\]>]{{0,3}}:[ *]*"),
    "capitals": re.compile(r"[\s>]([A-Z]{2,}(?:[ _][A-Z]+)?):[ ]*"),
}
#: What chat templates put at the ends of texts and turns.
_ENDS = (
    r"</?s>|<[be]os>|<end_of_turn>|<\|(?:im_end|eot_id|end|end_of_turn|endoftext|end_of_text|"
    r"begin_of_text|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN)\|>"
)
_HEAD, _TAIL = re.compile(rf"(?:\s|{_ENDS})+"), re.compile(rf"(?:\s|{_ENDS})+$")
_SYSTEM = re.compile(r"<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)
#: Of a text, those by which it is told whether it is a conversation.
JUDGED_CHARACTERS = 20_000
_INST = {"[INST]": "user", "[/INST]": "assistant"}


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a speaker is named. ``shown``: as it is written."""

    start: int
    end: int
    style: str
    name: str
    role: str
    shown: str


def marks_of(text: str, styles: Sequence[str] = tuple(STYLES)) -> list[Mark]:
    """The marks of the speakers, all of one style (the one that comes first), of each role always
    the same name: an ``Answer:`` inside of what ``Assistant:`` says is none. Empty where user and
    assistant are not both named. Places are those behind a newline before the text."""
    found = (marks for style in styles if (marks := _of_style(f"\n{text}", style)))
    return min(found, key=lambda marks: marks[0].start, default=[])


def style_of(texts: Sequence[str]) -> tuple[str, str, str, float] | None:
    """(style, mark of the user, mark of the assistant, share of the texts) of a column where most
    of its texts name both; None where they do not."""
    met: Counter[tuple[str, str, str]] = Counter()
    for text in texts:
        marks = marks_of(text[:JUDGED_CHARACTERS])
        if marks:
            by_role = {mark.role: mark for mark in reversed(marks)}
            met[marks[0].style, by_role["user"].shown, by_role["assistant"].shown] += 1
    if sum(met.values()) <= constant("written_share") * len(texts):
        return None
    return *met.most_common(1)[0][0], sum(met.values()) / len(texts)


def _of_style(text: str, style: str) -> list[Mark]:
    found = []
    for one in STYLES[style].finditer(text):
        role = _INST.get(one[1]) or names.written(one[1]) or names.speaker(one[1])
        if role:
            found.append(Mark(one.start(), one.end(), style, one[1], role, one[0].strip()))
    found = _without_letters(found)
    first: dict[str, str] = {}
    for mark in found:
        first.setdefault(mark.role, mark.name)
    if "user" not in first or "assistant" not in first:
        return []
    return [mark for mark in found if first[mark.role] == mark.name]


def _without_letters(marks: list[Mark]) -> list[Mark]:
    """``Q:`` and ``A:`` name speakers; ``A:`` after ``Question:`` is an option."""
    asked = next((mark.name for mark in marks if mark.role == "user"), "")
    return marks if len(asked) == 1 else [mark for mark in marks if len(mark.name) > 1]


def turns_of_text(text: str, role: str, styles: Sequence[str] = tuple(STYLES)) -> list[Turn]:
    """A conversation by its marks, what stands before the first of them as the system text; one
    turn of ``role`` where it has none."""
    marks = marks_of(text, styles)
    if not marks:
        return [turn(role, text)]
    text = f"\n{text}"
    ends = [mark.start for mark in marks[1:]] + [len(text)]
    parts = [("system", text[: marks[0].start])]
    parts += [(mark.role, text[mark.end : end]) for mark, end in zip(marks, ends)]
    return [turn(who, said) for who, said in _with_system(parts) if said]


def _with_system(parts: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Texts without the marks at their ends; Llama 2 writes the system text into a question."""
    for who, said in parts:
        inner = _SYSTEM.match(said.lstrip()) if who == "user" else None
        if inner is not None:
            yield "system", inner[1]
            said = said.lstrip()[inner.end() :]
        head = _HEAD.match(said)
        said = _TAIL.sub("", said[head.end() :] if head else said)
        yield who, said if any(map(str.isalnum, said)) or who != "system" else ""


def asks_and_answers(lists: Sequence[Sequence[str]], *, named_text: bool) -> bool:
    """Lists of texts are turns: their numbers are even, and the first of each two asks (it ends
    with a question mark, or is much shorter than what follows), or the numbers are even by no
    chance. ``named_text``: the column's name says that they are texts, so they have to ask."""
    sizes = [len(value) for value in lists]
    odd = sum(size % 2 or size < 2 for size in sizes)
    if not lists or odd > constant("small_share") * len(lists):
        return False
    asking = _asking(lists)
    if named_text:
        return asking
    return asking or (len(set(sizes)) > 1 and len(lists) >= constant("even_lists"))


def _asking(lists: Sequence[Sequence[str]]) -> bool:
    first = [text.strip() for value in lists for text in value[::2]]
    second = [text.strip() for value in lists for text in value[1::2]]
    asked, answered = (sum(t.endswith(("?", "？")) for t in side) for side in (first, second))
    if asked > constant("asking_share") * len(first) and asked > 2 * answered:
        return True
    return sum(map(len, second)) > constant("answer_length") * sum(map(len, first))
