"""Settings of torch's caching allocator, in the words of ``PYTORCH_CUDA_ALLOC_CONF``."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.memory.blocks import INTERVALS, LARGE_BUFFER, PLAIN, AllocatorConfig
from planner.question import Question

MIB = 2**20
#: The variables that hold them; what stands before is left off.
VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF=", "PYTORCH_ALLOC_CONF=", "PYTORCH_HIP_ALLOC_CONF=")
#: Of pinned memory and of locks: nothing on the device changes.
HARMLESS = (
    "pinned_use_cuda_host_register",
    "pinned_num_register_threads",
    "pinned_use_background_threads",
    "pinned_reserve_segment_size_mb",
    "release_lock_on_cudamalloc",
)
#: What the replay does not do, and why.
REFUSED = {
    "graph_capture_record_stream_reuse": "graphs are not part of a planned step",
    "per_process_memory_fraction": "give a device with less memory",
    "large_segment_size_mb": "segments are planned at torch's own size",
}
_DIVISIONS = (1, 2, 4, 8, 16, 32, 64)
KNOWN = (
    "expandable_segments:True, max_split_size_mb:N, max_non_split_rounding_mb:N, "
    "roundup_power2_divisions:N or [256:1,512:2,>:4], garbage_collection_threshold:0.8"
)


def allocator_of(question: Question) -> AllocatorConfig:
    """The settings of a question. Raises QuestionError for what torch does not have, or the replay
    does not do."""
    config = PLAIN
    for setting in _pairs(question.allocator or ""):
        name, _, value = (part.strip() for part in setting.partition(":"))
        config = replace(config, **_meant(name, value))
    return config


def _pairs(text: str) -> list[str]:
    """Settings apart: a comma within brackets parts none."""
    for variable in VARIABLES:
        text = text.strip().removeprefix(variable)
    text = text.strip("\"'")
    return [part for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def _meant(name: str, value: str) -> dict[str, Any]:
    if name == "expandable_segments" and value.lower() in ("true", "false"):
        return {name: value.lower() == "true"}
    if name in ("max_split_size_mb", "max_non_split_rounding_mb") and value.isdecimal():
        size, is_limit = int(value) * MIB, name == "max_split_size_mb"
        if size <= LARGE_BUFFER - (not is_limit):
            least = "more than" if is_limit else "at least"
            raise _refused(f"{name} is {least} {LARGE_BUFFER // MIB}", "Ask for more")
        return {"max_split_bytes" if is_limit else "non_split_bytes": size}
    if name == "roundup_power2_divisions" and (divisions := _divisions(value)) is not None:
        return {"roundup_divisions": divisions if any(one > 1 for one in divisions) else None}
    if name == "garbage_collection_threshold" and (share := _share(value)) is not None:
        return {name: share}
    if (name == "backend" and value == "native") or name in HARMLESS:
        return {}
    if name == "backend":
        raise _refused(f"the backend {value} keeps memory its own way", "Ask for native")
    if name in REFUSED:
        raise _refused(f"{name} is not planned: {REFUSED[name]}", f"Leave {name} out")
    raise _refused(f"no setting of the allocator: {name}:{value}", f"Ask for {KNOWN}")


def _share(value: str) -> float | None:
    try:
        share = float(value)
    except ValueError:
        return None
    return share if 0 < share < 1 else None


def _divisions(value: str) -> tuple[int, ...] | None:
    """One number for all sizes, or ``[256:1,512:2,>:4]``: by MiB, the first one's for what is
    smaller too, the last for what is larger (``parseRoundUpPower2Divisions``). None for neither."""
    if value.isdecimal():
        return (int(value),) * INTERVALS if int(value) in _DIVISIONS else None
    if not (value.startswith("[") and value.endswith("]")):
        return None
    found, last = [0] * INTERVALS, None
    for part in value[1:-1].split(","):
        bound, _, number = (word.strip() for word in part.partition(":"))
        if not number.isdecimal() or int(number) not in (0, *_DIVISIONS):
            return None
        if bound == ">":
            start = 0 if last is None else last + 1
            found[start:] = [int(number)] * (INTERVALS - start)
            continue
        if not bound.isdecimal() or int(bound) < 1 or int(bound) & (int(bound) - 1):
            return None
        at = min(int(bound).bit_length() - 1, INTERVALS - 1)
        if last is None:
            found[:at] = [int(number)] * at
        found[at], last = int(number), at
    return tuple(found)


def _refused(why: str, mend: str) -> QuestionError:
    return QuestionError(why, where=FieldName("allocator"), mend=mend)


def _rounded(config: AllocatorConfig) -> list[str]:
    divisions = config.roundup_divisions
    if divisions is None:
        return []
    each = {divisions} if isinstance(divisions, int) else set(divisions) - {0, 1}
    steps = " or ".join(map(str, sorted(each)))
    return [f"sizes rounded to {steps} steps of a power of two"]


def allocator_lines(question: Question) -> list[FirstLine]:
    """What is asked of the allocator."""
    lines: list[FirstLine] = []
    if question.allocator is not None:
        config = allocator_of(question)
        said = [
            *(["segments that grow"] if config.expandable_segments else []),
            *(
                [f"blocks of {config.max_split_bytes // MIB:,} MiB and more left whole"]
                if config.max_split_bytes
                else []
            ),
            *_rounded(config),
        ]
        lines.append(
            FirstLine(
                "run", f"the allocator is replayed with {' and '.join(said) or 'its own settings'}"
            )
        )
        if config.garbage_collection_threshold is not None:
            text = (
                "garbage_collection_threshold changes nothing: it is a share of "
                "per_process_memory_fraction, which is not set"
            )
            lines.append(FirstLine("run", text, warning=True))
    if question.empty_cache_steps is not None:
        every = question.empty_cache_steps
        often = "every step" if every == 1 else f"every {every:,}th step"
        text = f"the allocator's cache is given back after the forward pass of {often}"
        if every > 1:
            text += ", which lowers no peak of the steps between"
        lines.append(FirstLine("run", text))
    return lines
