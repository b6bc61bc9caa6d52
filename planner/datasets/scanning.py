"""scan(path) → DatasetProfile: finds the reader, reads a part or all, counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from planner.datasets.constants import constant
from planner.datasets.counting import Lengths, count_lengths
from planner.datasets.files import locate
from planner.datasets.layout.accounting import account
from planner.datasets.layout.encoders import negatives_of
from planner.datasets.layout.find import find_layout
from planner.datasets.layout.prepare import Prepared, prepare
from planner.datasets.layout.sentences import flags_said, left_out, sampled_note, understood
from planner.datasets.layout.shape import Layout
from planner.datasets.manifest import (
    image_shapes,
    image_sizes,
    medium_of,
    seconds_of,
    with_media,
    with_pictures,
)
from planner.datasets.profile import DatasetProfile
from planner.datasets.readers import AUDIO, IMAGE, Budget, Sample
from planner.datasets.tabular.layout import layout_of
from planner.datasets.tabular.rows import rows_of
from planner.datasets.tabular.series import series_of
from planner.datasets.templates.choosing import ModelText
from planner.datasets.tokenizer import TokenizerFile
from planner.datasets.tokens import (
    BytesPerToken,
    Letters,
    TokenCounter,
    is_by_letter,
)
from planner.errors import DataError, FieldName
from planner.first_lines import FirstLine
from planner.tasks import modality_of

MAX_RECORDS = 200_000
# beyond it records are counted in a spread part: a tokenizer does some MB a second
MAX_TOKENIZED_BYTES = 8 * 2**20
TABULAR = ("table", "series")
EMPTY_SHARE = 0.01  # from this share of records without text on, it is notes


@dataclass(frozen=True, eq=False)
class Scanned:
    """What a scan saw: ``profile`` is what is kept of it. ``records``: those that were counted,
    prepared; ``lengths`` None where no text is trained on."""

    profile: DatasetProfile
    records: Sequence[dict[str, Any]]
    layout: Layout
    lengths: Lengths | None
    counter: TokenCounter


@dataclass(frozen=True, slots=True)
class Reading:
    """How data is read. ``task`` (of question.Task) decides between readings that fit several (a
    pair is one text for a classifier, source and target for seq2seq_lm). Without
    ``tokenizer_path`` (a tokenizer.json or its folder) tokens come from bytes, by measured ratios
    for a vocabulary of ``vocabulary_size``. ``model``: whose chat template renders conversations.
    ``learns_from``: what an objective takes a record as. At most ``max_records`` are counted,
    spread evenly."""

    task: str | None = None
    tokenizer_path: str | Path | None = None
    text_columns: Sequence[str] | None = None
    vocabulary_size: int | None = None
    max_records: int = MAX_RECORDS
    model: ModelText = ModelText()
    learns_from: str | None = None


def scan(
    path: str | Path,
    *,
    progress: Callable[[float], None] | None = None,
    budget: Budget | None = None,
    **reading: Any,
) -> DatasetProfile:
    """Counts a file or folder; ``reading``: fields of ``Reading``. Large data is sampled; what is
    said of it carries the sampling error. ``progress`` is called with the share of the reading
    that is done. Raises DataError, MissingExtraError."""
    return scanned(path, Reading(**reading), budget or Budget(progress=progress)).profile


def scanned(path: str | Path, reading: Reading, budget: Budget) -> Scanned:
    """As ``scan``, with what the profile was made from."""
    path = Path(path).expanduser()
    counter = (
        TokenizerFile(reading.tokenizer_path)
        if reading.tokenizer_path
        else Letters()
        if is_by_letter(reading.vocabulary_size)
        else BytesPerToken.for_vocabulary(reading.vocabulary_size)
    )
    try:
        reader, files, notes = locate(path)
        sample = reader.read(files, path if path.is_dir() else path.parent, budget)
        root = path if path.is_dir() else path.parent
        sample = with_pictures(with_media(sample, root, budget), root, budget)
        size = sum(f.stat().st_size for f in files)
    except PermissionError as error:
        raise DataError(
            "no permission to read",
            where=str(error.filename or path),
            mend="Change its permissions or choose another path",
        ) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if not sample.records:
        raise DataError("there is no record to count", where=str(path))
    return _counted(sample, path, size, notes, reading, counter)


def _counted(
    sample: Sample,
    path: Path,
    size: int,
    located: tuple[str, ...],
    reading: Reading,
    counter: TokenCounter,
) -> Scanned:
    read_as = modality_of(reading.task or "")
    if read_as in TABULAR and sample.modality == "text":
        return _tabular(sample, path, size, located, reading, counter)
    sample, prepared = _prepared(sample, reading)
    layout = find_layout(sample.records, reading.task, reading.text_columns, str(path))
    limit = reading.max_records
    if layout.main.is_conversation:  # taken apart and put together again, one by one
        limit = min(limit, int(constant("counted_conversations")))
    kept = _kept(sample.records, counter, limit)
    records = [sample.records[i] for i in kept] if kept is not None else sample.records
    lengths = (
        None
        if layout.record_type == "none"
        else count_lengths(
            records, layout, reading.task, counter, reading.model, reading.learns_from
        )
    )
    blocks = sample.blocks if kept is None or sample.blocks is None else sample.blocks[kept]
    sampled = (
        sample.samples if sample.whole and kept is None else min(len(records), sample.samples - 1)
    )
    profile = _profile(sample, records, blocks, sampled, layout, lengths, counter)
    before = (*located, *sample.said, *prepared.notes)
    profile = replace(
        profile,
        bytes_on_disk=size,
        source=str(path),
        # of a topic of its own: that the data are so many records is known to who gave them
        first_lines=tuple(FirstLine("left_out", said) for said in before) + profile.first_lines,
        assumptions=sample.assumptions + profile.assumptions,
    )
    return Scanned(profile, records, layout, lengths, counter)


def _tabular(
    sample: Sample,
    path: Path,
    size: int,
    located: tuple[str, ...],
    reading: Reading,
    counter: TokenCounter,
) -> Scanned:
    """Rows of numbers and categories, or series over time: the columns that are read."""
    read_as = modality_of(reading.task or "")
    records, given = sample.records, reading.text_columns
    profile = DatasetProfile(
        modality=read_as,
        samples=sample.samples,
        sampled=sample.samples if sample.whole else min(len(records), sample.samples - 1),
        samples_relative_error=sample.samples_relative_error,
        format=sample.format,
        bytes_on_disk=size,
        source=str(path),
        assumptions=sample.assumptions,
        warnings=sample.warnings,
    )
    said = tuple(FirstLine("left_out", line) for line in (*located, *sample.said))
    if read_as == "table":
        rows = rows_of(records, given, str(path), sample.samples)
        layout = layout_of(rows.columns, rows.roles, rows.target)
        found = replace(profile, rows=rows, told_task=rows.task, classes=rows.classes)
        lines = rows.first_lines
    else:
        series = series_of(records, given, str(path), sample.samples)
        layout = layout_of(series.columns, series.roles)
        found, lines = replace(profile, series=series), series.first_lines
    found = replace(found, columns=layout.as_columns(), first_lines=(*said, *lines))
    return Scanned(found, records, layout, None, counter)


def _profile(
    sample: Sample,
    records: Sequence[dict[str, Any]],
    blocks: np.ndarray | None,
    sampled: int,
    layout: Layout,
    lengths: Lengths | None,
    counter: TokenCounter,
) -> DatasetProfile:
    seconds = seconds_of(records)
    measured = lengths.inputs if lengths else seconds
    errors = [
        0.0 if measured is None else _sampling_error(measured, blocks, sampled, sample.samples)
    ]
    classes, class_notes = _classes(sample, layout)
    mean = None if lengths is None else float(lengths.inputs.mean())
    by_text = lengths is not None and layout.record_type != "ids"
    if lengths is not None and by_text:
        errors += [counter.relative_error, lengths.relative_error]
    inputs, targets = _sides(lengths, sample)
    return DatasetProfile(
        modality=_modality(sample, lengths),
        samples=sample.samples,
        lengths=inputs,
        target_lengths=targets,
        audio_seconds=seconds,
        image_sizes=image_sizes(records),
        image_shapes=image_shapes(records),
        objects=np.array(sample.objects, dtype=np.int64) if sample.objects else None,
        images_per_sample=_images(sample, lengths, records),
        classes=classes,
        rejected_lengths=None if lengths is None else lengths.rejected,
        prompt_lengths=None if lengths is None else lengths.prompts,
        negatives=negatives_of(layout.main, layout.columns) or None,
        told_task=layout.task,
        sampled=sampled,
        length_relative_error=math.hypot(*errors),
        samples_relative_error=sample.samples_relative_error,
        format=sample.format,
        columns=layout.as_columns(),
        tokenizer=counter.name if by_text else "",
        first_lines=(
            understood(layout, sample.samples, mean, medium_of(records), classes),
            *flags_said(layout),
            *(
                left_out(layout, account(records, layout), mean, lengths.is_supervised)
                if lengths is not None
                else ()
            ),
            *(lengths.first_lines if lengths is not None else ()),
        ),
        assumptions=(
            *_notes(lengths, counter if by_text else None),
            *sampled_note(sampled, sample.samples, sample.samples_relative_error),
        ),
        warnings=(*sample.warnings, *class_notes, *_empty_warning(lengths, layout)),
    )


def _prepared(sample: Sample, reading: Reading) -> tuple[Sample, Prepared]:
    """Flat records; of records inside of records the number in all grows as in what was read."""
    prepared = prepare(sample.records, reading.task, reading.text_columns or ())
    if prepared.owners is None:
        return replace(sample, records=prepared.records), prepared
    count = len(prepared.records)
    grown = replace(
        sample,
        records=prepared.records,
        samples=count if sample.whole else round(sample.samples * count / len(sample.records)),
        blocks=None if sample.blocks is None else sample.blocks[prepared.owners],
    )
    return grown, prepared


def _kept(
    records: Sequence[dict[str, Any]], counter: TokenCounter, max_records: int
) -> np.ndarray | None:
    """Indices of the records that are counted, spread evenly; None for all."""
    limit = max(1, max_records)
    if isinstance(counter, TokenizerFile):
        probe = records[:: max(1, len(records) // 200)]
        mean = sum(_rough_bytes(value) for r in probe for value in r.values()) / len(probe)
        limit = min(limit, max(1000, int(MAX_TOKENIZED_BYTES / max(1.0, mean))))
    return (
        None
        if len(records) <= limit
        else np.unique(np.linspace(0, len(records) - 1, limit).astype(int))
    )


def _rough_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_rough_bytes, value.values()))
    return sum(map(_rough_bytes, value)) if isinstance(value, (list, tuple)) else 0


def _sides(lengths: Lengths | None, sample: Sample) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(inputs, targets): text beside a sound is what is to be written, the target. Otherwise text
    is the input."""
    if lengths is None:
        return None, None
    return (
        (None, lengths.inputs) if sample.modality == "audio" else (lengths.inputs, lengths.targets)
    )


def _modality(sample: Sample, lengths: Lengths | None) -> str:
    first = sample.records[0]
    modality = "audio" if AUDIO in first else "image" if IMAGE in first else sample.modality
    return "image_text" if modality == "image" and lengths is not None else modality


def _sampling_error(
    values: np.ndarray, blocks: np.ndarray | None, sampled: int, samples: int
) -> float:
    """Standard error of the mean over the mean: 0 when all were read; between blocks where they
    resemble each other inside."""
    mean = float(values.mean())
    if sampled >= samples or mean == 0:
        return 0.0
    unread = math.sqrt(1 - sampled / samples)
    if blocks is not None and len(number := np.unique(blocks)) > 1:
        size = np.bincount(blocks)[number]
        residual = np.bincount(blocks, weights=values - mean)[number]
        return float(
            math.sqrt(np.var(residual, ddof=1) / len(number)) / size.mean() / mean * unread
        )
    return (
        float(values.std(ddof=1) / math.sqrt(len(values)) / mean * unread)
        if len(values) > 1
        else 1.0
    )


def _images(
    sample: Sample, lengths: Lengths | None, records: Sequence[dict[str, Any]]
) -> float | None:
    """Images of a sample in the mean: those inside of its record, those that its text names, or the
    one that the record describes."""
    written = lengths.pictures if lengths is not None else 0.0
    if sample.images_per_sample or written:
        return max(sample.images_per_sample or 0.0, written)
    return 1.0 if any(IMAGE in record for record in records) else None


def _classes(sample: Sample, layout: Layout) -> tuple[int | None, tuple[str, ...]]:
    """Distinct labels; a part of the data may not hold them all, which is notes."""
    if sample.classes is not None:
        return sample.classes, ()
    if layout.flags:
        return len(layout.flags), ()
    if layout.label is None:
        return None, ()
    seen: set[Any] = set()
    for record in sample.records:
        value = record.get(layout.label)
        values = (
            value if isinstance(value, (list, tuple)) else () if value in (None, "") else (value,)
        )
        seen.update(v if isinstance(v, (str, int, float)) else repr(v) for v in values)
    every_one_differs = len(seen) == len(sample.records) and len(seen) > 20
    if every_one_differs or any(isinstance(v, float) and not v.is_integer() for v in seen):
        return None, (
            f"{layout.label!r} looks like a measured value, not a class: give "
            f"{FieldName('classes')} if it is one",
        )
    partial = (
        ()
        if sample.whole
        else (
            f"{len(seen)} classes were seen in the part that was read; give "
            f"{FieldName('classes')} if there are more",
        )
    )
    return len(seen) if len(seen) > 1 else None, partial


def _notes(lengths: Lengths | None, counter: TokenCounter | None) -> tuple[str, ...]:
    if lengths is None:
        return ()
    if not isinstance(counter, BytesPerToken):
        return lengths.assumptions
    return (
        f"tokens are counted by bytes: {counter.name}, ±{counter.relative_error:.0%}; a "
        "tokenizer on disk counts exactly",
        *lengths.assumptions,
    )


def _empty_warning(lengths: Lengths | None, layout: Layout) -> tuple[str, ...]:
    if lengths is None or lengths.empty_share <= EMPTY_SHARE:
        return ()
    return (f"{lengths.empty_share:.0%} of the records have no text in {', '.join(layout.inputs)}",)
