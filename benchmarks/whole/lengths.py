"""How long the samples of a report are: as it states, or as is known of its data."""

from __future__ import annotations

import re

from benchmarks.whole import facts
from benchmarks.whole.asked import Asked
from benchmarks.whole.report import TOTALS, Report

PACKED = r"(?<!not )(?<!no sample )\bpacked\b"


def lengths(report: Report, asked: Asked) -> None:
    """Tokens, pixels or seconds of a sample."""
    if asked.modality == "image":
        _image(report, asked)
    elif asked.modality != "speech":
        _tokens(report, asked)


def _image(report: Report, asked: Asked) -> None:
    text = report["max_length"]
    if found := re.search(r"(\d+) to (\d+) px", text):
        middle = (int(found[1]) + int(found[2])) / 2
        asked.fields["image_size"] = int(16 * round(middle / 16))
        asked.assumed.append(f"images that grow from {found[1]} to {found[2]} pixels: their middle")
    elif found := re.match(r"(\d+)x\d+|(\d+)$", text):
        asked.fields["image_size"] = int(found[1] or found[2])


def _tokens(report: Report, asked: Asked) -> None:
    fields, text = asked.fields, report["max_length"]
    if both := re.match(r"(\d+) in / (\d+) out", text):
        fields |= {"tokens_per_sample": int(both[1]), "max_length": int(both[1])}
        # Every sample has these lengths; padding to the maximum would lengthen the target to the
        # input's.
        fields |= {"target_tokens_per_sample": int(both[2]), "padding": "longest"}
        fields["length_spread"] = 0
        return
    limit = re.match(r"(\d+)", text)
    if limit:
        fields["max_length"] = int(limit[1])
    unpadded = report.says(r"flash attention unpads") is not None
    tokens = report.number("tokens_per_sample")
    full = bool(report.says(r"padded(?! in batch)")) and not unpadded
    packed = bool(report.says(PACKED))
    if packed and limit and (fields.get("max_steps") or report["table"] == TOTALS):
        tokens, full = float(limit[1]), True
    elif full and limit:
        tokens = float(limit[1])
    if tokens is None:
        tokens = _known_length(report, asked, packed)
    if tokens is None:
        asked.missing.append("mean length of the samples: neither stated nor known of the data")
        return
    fields["tokens_per_sample"] = min(tokens, fields.get("max_length") or tokens)
    if packed and not full:
        fields["tokens_per_sample"] = tokens
    fields["padding"] = "max" if full else "packed" if packed else "longest"
    if unpadded:
        fields["length_spread"] = 0  # real tokens alone are computed on


def _known_length(report: Report, asked: Asked, packed: bool) -> float | None:
    known = facts.data_set(report["dataset"])
    if known and (tokens := facts.mean_tokens(known, asked.fields["model"])):
        asked.assumed.append(f"{tokens:,.0f} tokens a sample: {known['counted_how']}")
        if not packed and (report.number("micro_batch") or 2) > 1:
            asked.assumed.append("lengths spread as in published sets of the task")
        return tokens
    if (found := report.says(r"cut at (\d+)")) is not None:
        asked.assumed.append(f"every sample cut at {found[1]} tokens")
        return float(found[1])
    return None
