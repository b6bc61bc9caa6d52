"""``planner data``'s document as pairs, tables and marked records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import FieldName
from planner.report.views.table import DASH, Table
from planner.report.words import bytes_text, clean, count_text, seconds_text, share_text

BAR = "█"
#: Characters of the longest bar.
BAR_WIDTH = 40


def understood(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the file is and how its text is counted."""
    chat = document["chat_template"]
    pairs = [
        ("File", clean(document["source"])),
        ("Format", f"{document['format']}, {bytes_text(document['bytes_on_disk'])}"),
        ("Records", _records(document)),
        ("Kind", clean(document["records_are"])),
        ("Model", clean(document["model"] or f"none named ({FieldName('model')})")),
    ]
    if chat is not None:
        how = "assumed, " if chat["assumed"] else "the model's own, "
        pairs.append(("Chat template", clean(f"{chat['name']} ({how}{chat['source']})")))
    if document["tokenizer"]:
        pairs.append(("Tokens by", clean(document["tokenizer"])))
    if document["classes"] is not None:
        pairs.append(("Classes", count_text(document["classes"])))
    return pairs


def _records(document: Mapping[str, Any]) -> str:
    samples, sampled = document["samples"], document["sampled"]
    return f"{samples:,}" + (f", {sampled:,} of them counted" if sampled < samples else "")


def lines(document: Mapping[str, Any], key: str) -> list[str]:
    """Its assumptions or warnings."""
    return [clean(line) for line in document[key]]


def columns(document: Mapping[str, Any]) -> Table:
    """What each column is used as, and its share of the text."""
    rows = (
        (
            clean(row["column"]),
            row["role"] or ("left out" if row["left_out"] else "not counted: no language"),
            share_text(row["text_share"]) if row["text_share"] else DASH,
        )
        for row in document["columns"]
    )
    return Table(("Column", "Used as", "Of the text"), tuple(rows))


def records(document: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, bool]]]]:
    """(title, [(text, whether the loss is taken on it)]) of each record that is shown."""
    return [
        (_title(record), [(_lines(part["text"]), part["trained"]) for part in record["segments"]])
        for record in document["records"]
    ]


def _title(record: Mapping[str, Any]) -> str:
    size = "" if record["tokens"] is None else f", {record['tokens']:,} tokens"
    label = "" if record["label"] is None else f", label {clean(record['label'])}"
    return f"Record {record['number']:,}{size}{label}"


def _lines(text: str) -> str:
    """Made harmless line by line: a text keeps its newlines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def histogram(document: Mapping[str, Any]) -> Table:
    """Records by length; the longest bar has BAR_WIDTH characters."""
    bins = document["histogram"]
    most = max((each["share"] for each in bins), default=0) or 1
    unit = "Tokens" if document["lengths"] or not document["audio_seconds"] else "Seconds"
    rows = (
        (
            f"{each['from']:,g}–{each['to']:,g}"
            if each["to"] is not None
            else f"from {each['from']:,g}",
            count_text(each["records"]),
            BAR * round(BAR_WIDTH * each["share"] / most) or ("▏" if each["records"] else ""),
        )
        for each in bins
    )
    return Table((unit, "Records", ""), tuple(rows))


def batches(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lengths in words: what is cut, padded, packed, and what the loss is taken on."""
    pairs: list[tuple[str, str]] = []
    for key, name in (("lengths", "Tokens a record"), ("target_lengths", "Target tokens")):
        if document[key] is not None:
            pairs.append((name, _spread(document[key], count_text)))
    if document["audio_seconds"] is not None:
        pairs.append(("Seconds a clip", _spread(document["audio_seconds"], seconds_text)))
    sizes = document["image_sizes"]
    if sizes is not None:
        median = f"{sizes['median_width']} × {sizes['median_height']}"
        largest = f"{sizes['largest_width']} × {sizes['largest_height']}"
        pairs.append(("Pixels", f"median {median}, largest {largest}"))
    if document["trained_share"] is not None:
        pairs.append(("Loss is taken on", f"{share_text(document['trained_share'])} of the text"))
    return pairs + _shares(document["batches"])


def _spread(summary: Mapping[str, float], word: Any) -> str:
    return (
        f"mean {word(summary['mean'])}, half up to {word(summary['p50'])}, 95 % up to "
        f"{word(summary['p95'])}, longest {word(summary['max'])}"
    )


def _shares(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if found is None:
        return []
    pairs = [
        (
            "Padded",
            f"{share_text(found['padding_share'])} of what is computed, in batches of "
            f"{found['micro_batch']:,}",
        )
    ]
    if found["max_length"] is None:
        return pairs
    cut = (
        f"nothing at {found['max_length']:,} tokens"
        if not found["cut_records_share"]
        else f"{share_text(found['cut_records_share'])} of the records, "
        f"{share_text(found['cut_tokens_share'])} of the tokens, at {found['max_length']:,} tokens"
    )
    pairs.insert(0, ("Cut", cut))
    if found["packed_sequences"] is not None:
        pairs.append(
            (
                "Packed",
                f"{count_text(found['packed_sequences'])} sequences of {found['max_length']:,} "
                f"tokens, {share_text(found['packed_padding_share'])} padding",
            )
        )
    return pairs
