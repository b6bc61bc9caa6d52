"""What is done to the data once, before the first step, while the devices are paid and idle:
tokenizing, features, packing, and fetching it to a rented machine."""

from __future__ import annotations

from collections.abc import Mapping

from planner import units
from planner.errors import FieldName
from planner.figures import Estimate
from planner.plan.phases.course import Course, Phase
from planner.plan.phases.loading import MEASURED_STAGES, measured_entry, measured_seconds
from planner.plan.phases.pipeline import Pipeline, pipeline_of
from planner.plan.phases.stages import WORDS, Sample, Work, record_of, seconds_of
from planner.uncertainty.spread import overhead

BITS = 8
#: A part of the phase is named where it takes more of it.
WORTH = 0.05
DOWNLOAD = "download the data"
#: Done by threads on every core where one process does it.
THREADED = "encode_batched"
#: Stages that make ids of texts: nothing where the data is ids.
TOKENIZING = ("render", "encode", "encode_batched", "map_tokens")


def preparation(course: Course) -> Phase:
    """Nothing where the question says that the data is prepared, or for a head on features that a
    stage before made."""
    question, setting, data = course.question, course.setting, course.data
    if question.prepared or setting.recipe.variant == "cached":
        return Phase(Estimate.exact(0.0))
    work = Work(setting.source.facts, setting.recipe.task, setting.batches)
    record = record_of(question, work, data)
    pipeline = pipeline_of(setting.recipe, setting.source.facts, data, course.stack)
    seconds = _stages(course, pipeline, record)
    workers, cores = _workers(course, pipeline), _cores(course)
    if course.machine.is_rented:
        seconds[DOWNLOAD] = data_bytes(course, record) * _each("download_bytes_per_second")
    total = sum(seconds.values(), Estimate.exact(0.0))
    each = {name: value.p50 / units.SECONDS_PER_HOUR for name, value in seconds.items()}
    hours = total.scale(1 / units.SECONDS_PER_HOUR)
    return Phase(hours, of_which=each, said=_said(seconds, workers, cores))


def _said(seconds: Mapping[str, Estimate], workers: int, cores: int) -> str:
    """The parts that matter, by how many processes, and what changes them."""
    least = WORTH * sum(value.p50 for value in seconds.values())
    parts = {name: value.p50 for name, value in seconds.items() if value.p50 > least}
    if not parts:
        return ""
    done = ", ".join(f"{units.format_seconds(value)} to {name}" for name, value in parts.items())
    by = f"{workers} process{'es' if workers > 1 else ''} on {cores} cores"
    changed = f"{by}; {FieldName('preparation_workers')} changes them; "
    changed = "" if set(parts) == {DOWNLOAD} else changed
    return (
        f"before the first step: {done} ({changed}{FieldName('prepared')} says that nothing is "
        "left to do)"
    )


def _stages(course: Course, pipeline: Pipeline, record: Sample) -> dict[str, Estimate]:
    """Seconds of each thing that is done, by all processes together. A measured loader's rate
    stands for the stages that it went through."""
    data = course.data
    stages = [stage for stage in pipeline.before if data.tokenizer or stage not in TOKENIZING]
    found: dict[str, Estimate] = {}
    entry = measured_entry(data, course.spec)
    kind = "image" if data.modality == "image_text" else data.modality
    done = set(MEASURED_STAGES[kind]) & set(stages) if entry is not None else set[str]()
    if entry is not None and done:
        name = "tokenize" if kind == "text" else "decode and make features"
        whole = measured_seconds(data, entry).scale(data.samples)
        found[name] = whole.scale(1 / _gain(course, pipeline, next(iter(sorted(done)))))
    for stage in stages:
        if stage in done:
            continue
        seconds = seconds_of(stage, record).scale(data.samples / _gain(course, pipeline, stage))
        if seconds.p50:
            found[WORDS[stage]] = found.get(WORDS[stage], Estimate.exact(0.0)) + seconds
    return found


def _gain(course: Course, pipeline: Pipeline, stage: str) -> int:
    """Cores that a stage is spread over."""
    workers = _workers(course, pipeline)
    return _cores(course) if stage == THREADED and workers == 1 else workers


def _workers(course: Course, pipeline: Pipeline) -> int:
    wanted = course.question.preparation_workers or pipeline.map_workers
    return max(1, min(wanted, _cores(course)))


def _cores(course: Course) -> int:
    """Of all devices of the run together."""
    return max(1, course.machine.cores * course.setting.step.parallel.devices)


def _each(key: str) -> Estimate:
    """Seconds a byte of a rate's row."""
    rate = overhead(key)
    return Estimate(*(1 / value for value in (rate.p90, rate.p50, rate.p10)))


def data_bytes(course: Course, record: Sample) -> Estimate:
    """As they lie on disk where that is known, else by what a record holds."""
    data = course.data
    if data.bytes_on_disk is not None:
        return Estimate.exact(float(data.bytes_on_disk))
    text = record.tokens * overhead("token_bytes")
    sound = record.seconds * overhead("sound_bytes_per_second")
    image = record.pixels * overhead("photo_bits_per_pixel").scale(1 / BITS)
    return (text + sound + image).scale(data.samples)
