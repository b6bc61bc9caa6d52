"""Which columns of a record are its text, its target and its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planner.datasets.readers import AUDIO, IMAGE
from planner.errors import DataError, FieldName, nearest

Records = Sequence[dict[str, Any]]

CHAT = ("messages", "conversations", "conversation", "dialog", "turns", "chosen")
#: (prompt columns, answer column): prompts that are missing in a dataset are left out, the first
#: and the answer are needed.
INSTRUCTIONS = (
    (("instruction", "input", "context"), "output"),
    (("instruction", "input", "context"), "response"),
    (("instruction", "input"), "completion"),
    (("prompt",), "completion"),
    (("prompt",), "response"),
    (("prompt",), "output"),
    (("prompt",), "chosen"),
    (("query",), "response"),
    (("question", "context"), "answer"),
    (("question", "context"), "answers"),
    (("problem",), "solution"),
    (("input",), "output"),
    (("user",), "assistant"),
)
TRANSFERS = (
    ("source", "target"),
    ("src", "tgt"),
    ("input_text", "target_text"),
    ("inputs", "targets"),
    ("document", "summary"),
    ("article", "highlights"),
    ("article", "summary"),
    ("dialogue", "summary"),
    ("text", "summary"),
    ("text", "target"),
)
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("anchor", "positive"),
    ("query", "passage"),
    ("question", "passage"),
    ("question", "sentence"),
)
SINGLES = (
    "text",
    "content",
    "sentence",
    "document",
    "review",
    "body",
    "article",
    "code",
    "comment",
    "tweet",
    "message",
    "description",
    "abstract",
    "caption",
    "captions",
    "transcription",
    "transcript",
    "question",
    "title",
    "prompt",
    "sms",
    "headline",
    "utterance",
    "tokens",
    "words",
)
LABELS = (
    "label",
    "labels",
    "class",
    "category",
    "intent",
    "sentiment",
    "fine_label",
    "coarse_label",
    "ner_tags",
    "pos_tags",
    "target",
    "cls",
    "rating",
    "stars",
)
IDENTIFIERS = (
    "id",
    "uuid",
    "url",
    "idx",
    "index",
    "date",
    "timestamp",
    "file",
    "file_name",
    "path",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """``record_type``: chat, instruction, transfer (source → target), pair, text, ids (already
    tokens), none. ``inputs`` and ``target`` are columns as they are spelled in the data."""

    record_type: str
    inputs: tuple[str, ...] = ()
    target: str | None = None
    label: str | None = None
    note: str = ""

    def as_columns(self) -> dict[str, str]:
        roles = {
            "kind": self.record_type,
            "inputs": ", ".join(self.inputs),
            "target": self.target,
            "label": self.label,
        }
        return {role: value for role, value in roles.items() if value}


def find_layout(
    records: Records,
    task: str | None,
    text_columns: Sequence[str] | None,
    source: str,
) -> Layout:
    """The roles of the columns. Raises DataError naming the columns that exist when there is no
    text among them."""
    names = list(
        dict.fromkeys(
            name for record in records[:1000] for name in record if name not in (IMAGE, AUDIO)
        )
    )
    lower = {name.lower(): name for name in reversed(names)}
    label = next((lower[n] for n in LABELS if n in lower and _is_label(records, lower[n])), None)
    if text_columns:
        return _given(names, text_columns, task, label, source)
    layout = _known(records, lower, task, label)
    if layout is not None:
        return layout
    if any(IMAGE in r or AUDIO in r for r in records[:100]):
        return Layout("none", label=label)
    return _longest(records, names, label, source)


def _given(
    names: list[str], wanted: Sequence[str], task: str | None, label: str | None, source: str
) -> Layout:
    for name in wanted:
        if name not in names:
            near = nearest(name, names)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise DataError(
                f"no column {name!r}",
                where=source,
                mend=f"{hint}The columns are: {', '.join(names[:40])}",
            )
    if task == "seq2seq_lm" and len(wanted) > 1:
        return Layout("transfer", tuple(wanted[:-1]), wanted[-1], label)
    if len(wanted) == 1 and wanted[0].lower() in CHAT:
        return Layout("chat", (wanted[0],), label=label)
    return Layout("text", tuple(wanted), label=label)


def _known(
    records: Records, lower: dict[str, str], task: str | None, label: str | None
) -> Layout | None:
    """The first shape of record that fits, in the order that the task makes likely."""
    if task == "seq2seq_lm":
        order = (_ids, _transfer, _instruction, _chat, _pair_as_transfer, _single)
    elif task in ("text_classification", "token_classification", "contrastive"):
        order = (_ids, _pair, _single, _instruction, _chat)
    else:
        order = (_ids, _chat, _instruction, _transfer, _pair, _single)
    for shape in order:
        layout = shape(records, lower, label)
        if layout is not None:
            return layout
    return None


def _chat(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    for name in CHAT:
        if name in lower and messages_of(_first(records, lower[name])):
            note = (
                "of each preference pair the chosen answer is counted" if name == "chosen" else ""
            )
            return Layout("chat", (lower[name],), label=label, note=note)
    return None


def _instruction(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    for prompts, answer in INSTRUCTIONS:
        if prompts[0] in lower and answer in lower and answer != label:
            return Layout(
                "instruction",
                tuple(lower[p] for p in prompts if p in lower),
                lower[answer],
                label if label != lower[answer] else None,
            )
    return None


def _transfer(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    translation = _first(records, lower.get("translation"))
    if isinstance(translation, dict) and len(translation) >= 2:
        first, second = list(translation)[:2]
        return Layout(
            "transfer",
            (f"translation.{first}",),
            f"translation.{second}",
            note=f"translated from {first} to {second}",
        )
    for source, target in TRANSFERS:
        if source in lower and target in lower and lower[target] != label:
            return Layout("transfer", (lower[source],), lower[target], label)
    return None


def _pair(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    pair = next((p for p in PAIRS if p[0] in lower and p[1] in lower), None)
    return Layout("pair", (lower[pair[0]], lower[pair[1]]), label=label) if pair else None


def _pair_as_transfer(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    pair = _pair(records, lower, label)
    return Layout("transfer", pair.inputs[:1], pair.inputs[1], label) if pair else None


def _single(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    name = next(
        (lower[n] for n in SINGLES if n in lower and as_text(_first(records, lower[n])).strip()),
        None,
    )
    return Layout("text", (name,), label=label) if name else None


def _ids(records: Records, lower: dict[str, str], label: str | None) -> Layout | None:
    if "input_ids" not in lower or not isinstance(
        _first(records, lower["input_ids"]), (list, tuple)
    ):
        return None
    labels = _first(records, lower.get("labels"))
    same = isinstance(labels, (list, tuple)) and len(labels) == len(
        _first(records, lower["input_ids"])
    )
    target = lower["labels"] if isinstance(labels, (list, tuple)) and not same else None
    return Layout(
        "ids",
        (lower["input_ids"],),
        target,
        note="the data is tokenized already: its own tokens are counted",
    )


def _longest(records: Records, names: list[str], label: str | None, source: str) -> Layout:
    """No known name: the column of strings with the most text."""
    sizes = {
        name: sum(len(r[name]) for r in records[:200] if isinstance(r.get(name), str))
        for name in names
        if name != label and name.lower() not in IDENTIFIERS
    }
    best = max(sizes, key=sizes.__getitem__, default=None)
    if best is None or not sizes[best]:
        raise DataError(
            "no column holds text",
            where=source,
            mend=f"Name it with {FieldName('text_columns')}. The columns are: "
            f"{', '.join(names[:40]) or 'none'}",
        )
    return Layout(
        "text",
        (best,),
        label=label,
        note=f"no column has a known name; {best!r} holds the most text and is taken "
        f"({FieldName('text_columns')} changes that)",
    )


def _first(records: Records, name: str | None) -> Any:
    return (
        next((r[name] for r in records if r.get(name) not in (None, "", [])), None)
        if name
        else None
    )


def _is_label(records: Records, name: str) -> bool:
    """Numbers, short strings, or lists of numbers (a tag a token)."""
    value = _first(records, name)
    if isinstance(value, str):
        return max(len(str(r.get(name) or "")) for r in records[:200]) <= 80
    if isinstance(value, (list, tuple)):
        return (
            bool(value)
            and all(isinstance(v, (int, str)) for v in value)
            and name.lower() != "labels"
        )
    return isinstance(value, (bool, int, float))


def messages_of(value: Any) -> list[str]:
    """Contents of a chat in any of the usual spellings (role/content, from/value); empty when it is
    none."""
    if not isinstance(value, (list, tuple)):
        return []
    texts = []
    for message in value:
        if isinstance(message, str):
            texts.append(message)
        elif isinstance(message, dict) and (
            key := next((k for k in ("content", "value", "text") if k in message), None)
        ):
            texts.append(as_text(message[key]))
    return texts


def cell(record: dict[str, Any], name: str | None) -> Any:
    """The value of a column; ``translation.de`` looks inside of one; None for no column."""
    if name is None:
        return None
    if name in record:
        return record[name]
    outer, _, inner = name.partition(".")
    value = record.get(outer)
    return value.get(inner) if isinstance(value, dict) else None


def as_text(value: Any) -> str:
    """Text of a cell: strings as they are, lists joined, parts of multi-part messages, the text of
    an answers struct."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, map(as_text, value)))
    if isinstance(value, dict):
        return as_text(value.get("text") or value.get("content"))
    return str(value)
