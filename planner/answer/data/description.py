"""What was understood of a dataset, with records as they will be trained: for ``planner data``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from planner.datasets.counting import is_rendered, sides_of
from planner.datasets.layout.accounting import account
from planner.datasets.layout.conversations import conversation_of, texts_of
from planner.datasets.layout.sentences import WORDS, is_classified
from planner.datasets.layout.shape import Layout
from planner.datasets.profile import DatasetProfile, percentiles
from planner.datasets.readers import AUDIO, IMAGE
from planner.datasets.scanning import Scanned
from planner.datasets.templates.chat_template import ChatTemplate
from planner.datasets.templates.rendering import render

SHOWN_RECORDS = 3
BINS = 10
#: Characters of a part that are shown: the first, and the last of a longer one.
HEAD, TAIL = 400, 160
SHOWN_IDS = 24
#: Tasks that train on all of a text; the others on a label beside it.
GENERATIVE = (None, "causal_lm", "masked_lm", "custom")

Record = Mapping[str, Any]
Segment = tuple[str, bool]


def describe(
    found: Scanned, task: str | None, *, max_length: int | None, micro_batch: int
) -> dict[str, Any]:
    """A JSON-ready document. ``max_length``: where samples are cut, in tokens; ``micro_batch``: how
    many are padded to the longest of them."""
    profile, lengths = found.profile, found.lengths
    known = profile.as_dict()
    chat = lengths.chat_template if lengths is not None else None
    return {
        **{name: known[name] for name in ("source", "format", "modality", "samples", "sampled")},
        **{name: known[name] for name in ("bytes_on_disk", "tokenizer")},
        "classes": known["classes"]
        if is_classified(found.layout, profile.modality != "text")
        else None,
        "record_type": found.layout.record_type,
        "records_are": _kind(found.layout.record_type, profile.modality),
        "length_relative_error": profile.length_relative_error,
        "chat_template": None
        if chat is None
        else {"name": chat.name, "source": chat.source, "assumed": chat.assumed},
        "columns": _columns(found),
        "records": _shown(found, task, chat),
        "trained_share": lengths.trained_share if lengths is not None else None,
        "lengths": known["lengths"],
        "target_lengths": known["target_lengths"],
        "audio_seconds": known["audio_seconds"],
        "image_sizes": known["image_sizes"],
        "histogram": _histogram(profile),
        "batches": _batches(profile, max_length, micro_batch, packs=task in GENERATIVE),
        "assumptions": known["assumptions"],
        "warnings": known["warnings"],
    }


def _kind(record_type: str | None, modality: str) -> str:
    """The shape of the records in words, or the medium where they hold no text."""
    return modality if record_type in (None, "none") else WORDS[record_type]


def _columns(found: Scanned) -> list[dict[str, Any]]:
    """Every column with its role and its share of the text bytes, the largest first."""
    layout = found.layout
    shapes = [shape for shape, _ in layout.shapes]
    roles = {
        path: role for s in reversed(shapes) for role, paths in s.roles.items() for path in paths
    }
    left = {} if _is_tabular(found) else account(found.records, layout).left
    total = sum(column.size for column in layout.columns.values())
    rows = []
    for path, column in layout.columns.items():
        label = any(path == shape.label for shape in shapes)
        copied = any(path in shape.copies for shape in shapes)
        role = roles.get(path) or ("label" if label else "repeats another" if copied else None)
        rows.append(
            {
                "column": path,
                "role": role,
                "text_share": column.size / total if total else 0.0,
                "left_out": role is None and (path in left or _is_tabular(found)),
            }
        )
    return sorted(rows, key=lambda row: -row["text_share"])


def _shown(found: Scanned, task: str | None, chat: ChatTemplate | None) -> list[dict[str, Any]]:
    """The first record, one from the middle and the last."""
    count = len(found.records)
    places = np.unique(np.linspace(0, count - 1, min(count, SHOWN_RECORDS)).astype(int)).tolist()
    sizes = _sizes(found)
    return [
        {
            "number": place + 1,
            "tokens": None if sizes is None else int(sizes[place]),
            "characters": sum(len(text) for text, _ in segments),
            "label": _label(found.records[place], found.layout),
            "segments": [
                {"text": _shortened(text), "trained": trained} for text, trained in segments if text
            ],
        }
        for place in places
        for segments in [
            _cells(found.records[place])
            if _is_tabular(found)
            else _segments(found.records[place], found.layout, task, chat)
        ]
    ]


def _is_tabular(found: Scanned) -> bool:
    """Rows and series, which hold no text."""
    return found.profile.rows is not None or found.profile.series is not None


def _cells(record: Record) -> list[Segment]:
    return [(", ".join(f"{path} {value}" for path, value in record.items()), False)]


def _sizes(found: Scanned) -> np.ndarray | None:
    """Tokens of each record, both sides of an encoder-decoder."""
    lengths = found.lengths
    if lengths is None:
        return None
    return lengths.inputs if lengths.targets is None else lengths.inputs + lengths.targets


def _segments(
    record: Record, layout: Layout, task: str | None, chat: ChatTemplate | None
) -> list[Segment]:
    """(text, whether the loss is taken on it), in order."""
    media = list(_media(record))
    shape = layout.shape_of(record) if layout.shapes else None
    if shape is None or shape.record_type == "none":
        return media
    if shape.record_type == "ids":
        ids = list(record.get(shape.inputs[0]) or ())
        more = " …" if len(ids) > SHOWN_IDS else ""
        return [(" ".join(map(str, ids[:SHOWN_IDS])) + more, True)]
    if task == "seq2seq_lm" and shape.target is not None:
        source, target = sides_of(record, layout)
        return [("\n".join(filter(None, source)) + "\n", False), (target, True)]
    if chat is not None and is_rendered(shape, task):
        (made,) = render(chat, [conversation_of(record, layout)])
        return _split(made.text, made.trained)
    trained = task in GENERATIVE or bool(media)
    return [*media, ("\n".join(filter(None, _texts(record, layout))), trained)]


def _texts(record: Record, layout: Layout) -> list[str]:
    shape = layout.shape_of(record)
    if shape.is_conversation:
        return [turn.content for turn in conversation_of(record, layout).turns]
    return texts_of(record, shape)


def _media(record: Record) -> Sequence[Segment]:
    if IMAGE in record:
        width, height = record[IMAGE]
        return [(f"<image of {width} × {height} pixels> ", False)]
    return [(f"<sound of {record[AUDIO]:.3g} s> ", False)] if AUDIO in record else []


def _label(record: Record, layout: Layout) -> str | None:
    value = record.get(layout.label) if layout.label is not None else None
    return None if value is None else _shortened(str(value))


def _split(text: str, spans: Sequence[tuple[int, int]]) -> list[Segment]:
    parts: list[Segment] = []
    end = 0
    for start, stop in spans:
        parts += [(text[end:start], False), (text[start:stop], True)]
        end = stop
    return [*parts, (text[end:], False)]


def _shortened(text: str) -> str:
    if len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]} … {text[-TAIL:]}"


def _histogram(profile: DatasetProfile) -> list[dict[str, Any]]:
    """Records by length in equal steps of a round size; the last one is open. Tokens, or seconds
    of sound."""
    values = next(
        (
            a
            for a in (profile.lengths, profile.audio_seconds, profile.target_lengths)
            if a is not None
        ),
        None,
    )
    if values is None:
        return []
    least, most = percentiles(values, (1, 99))
    step = _round_step((most - least) / BINS or most / BINS)
    if profile.lengths is not None or profile.audio_seconds is None:
        step = max(1.0, math.ceil(step))  # of whole tokens
    first = float(values.min()) // step
    bins = np.bincount(np.clip(values // step - first, 0, BINS - 1).astype(int), minlength=BINS)
    last = int(np.flatnonzero(bins)[-1])
    return [
        {
            "from": (first + index) * step,
            "to": None if index == BINS - 1 else (first + index + 1) * step,
            "records": round(int(number) / len(values) * profile.samples),
            "share": int(number) / len(values),
        }
        for index, number in enumerate(bins[: last + 1])
    ]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 × a power of ten from ``least`` on."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)


def _batches(
    profile: DatasetProfile, max_length: int | None, micro_batch: int, *, packs: bool
) -> dict[str, Any] | None:
    """What is cut at the longest length, what padding adds in batches, what packing would."""
    if profile.lengths is None:
        return None
    plan = profile.batches(micro_batch, max_length=max_length)
    kept = plan.tokens_per_epoch or 0.0
    whole = float(profile.lengths.mean()) * profile.samples
    found: dict[str, Any] = {
        "max_length": max_length,
        "cut_records_share": plan.truncated_share,
        "cut_tokens_share": 1 - kept / whole if whole else 0.0,
        "micro_batch": micro_batch,
        "padding_share": 1 - kept / plan.padded_tokens_per_epoch
        if plan.padded_tokens_per_epoch
        else 0.0,
        "packed_sequences": None,
        "packed_padding_share": None,
    }
    if max_length is None or not packs:
        return found
    packed = profile.batches(micro_batch, padding="packed", max_length=max_length)
    computed = packed.padded_tokens_per_epoch or 1.0
    return found | {
        "packed_sequences": packed.samples_per_epoch,
        "packed_padding_share": 1 - (packed.tokens_per_epoch or 0.0) / computed,
    }
