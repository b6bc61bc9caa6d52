"""Settings of torch's caching allocator, in the words of ``PYTORCH_CUDA_ALLOC_CONF``."""

from __future__ import annotations

from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.memory.allocator import LARGE_BUFFER, AllocatorConfig
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
    "garbage_collection_threshold": "what is collected depends on how long a block was not used",
    "graph_capture_record_stream_reuse": "graphs are not replayed",
    "per_process_memory_fraction": "give a device with less memory",
    "large_segment_size_mb": "segments are planned at torch's own size",
}
_DIVISIONS = (1, 2, 4, 8, 16, 32, 64)


def allocator_of(question: Question) -> AllocatorConfig:
    """The settings of a question. Raises QuestionError for what torch does not have, or the replay
    does not do."""
    config: dict[str, bool | int | None] = {}
    for setting in _pairs(question.allocator or ""):
        name, _, value = (part.strip() for part in setting.partition(":"))
        config |= _meant(name, value)
    return AllocatorConfig(
        expandable_segments=bool(config.get("expandable_segments")),
        max_split_bytes=config.get("max_split_bytes"),
        roundup_divisions=config.get("roundup_divisions"),
    )


def _pairs(text: str) -> list[str]:
    for variable in VARIABLES:
        text = text.strip().removeprefix(variable)
    return [part for part in text.strip("\"'").split(",") if part.strip()]


def _meant(name: str, value: str) -> dict[str, bool | int | None]:
    if name == "expandable_segments" and value.lower() in ("true", "false"):
        return {name: value.lower() == "true"}
    if name == "max_split_size_mb" and value.isdecimal():
        if int(value) * MIB <= LARGE_BUFFER:
            raise _refused(f"{name} is more than {LARGE_BUFFER // MIB}", "Ask for more")
        return {"max_split_bytes": int(value) * MIB}
    if name == "roundup_power2_divisions" and value.isdecimal() and int(value) in _DIVISIONS:
        return {"roundup_divisions": int(value) if int(value) > 1 else None}
    if (name == "backend" and value == "native") or name in HARMLESS:
        return {}
    if name == "backend":
        raise _refused(f"the backend {value} keeps memory its own way", "Ask for native")
    if name in REFUSED:
        raise _refused(f"{name} is not planned: {REFUSED[name]}", f"Leave {name} out")
    known = "expandable_segments:True, max_split_size_mb:N, roundup_power2_divisions:N"
    raise _refused(f"no setting of the allocator: {name}:{value}", f"Ask for {known}")


def _refused(why: str, mend: str) -> QuestionError:
    return QuestionError(why, where=FieldName("allocator"), mend=mend)


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
            *(
                [f"sizes rounded to {config.roundup_divisions} steps of a power of two"]
                if config.roundup_divisions
                else []
            ),
        ]
        lines.append(
            FirstLine(
                "run", f"the allocator is replayed with {' and '.join(said) or 'its own settings'}"
            )
        )
    if question.empty_cache_steps is not None:
        every = question.empty_cache_steps
        often = "every step" if every == 1 else f"every {every:,}th step"
        text = f"the allocator's cache is given back after the forward pass of {often}"
        if every > 1:
            text += ", which lowers no peak of the steps between"
        lines.append(FirstLine("run", text))
    return lines
