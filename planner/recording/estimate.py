"""The estimate that is kept beside a run: what the planner says of the same work on the same
device, now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from planner.errors import QuestionError

if TYPE_CHECKING:
    from planner.question import Question


def estimate_for_run(question: Question, setup: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the planner, offline, about the question as it was run: on the device of ``setup``,
    whichever was asked about, with its micro-batch where the question left that open. Raises the
    planner's errors, QuestionError where the answer holds no option of that strategy. The random
    state of the caller is left as it was."""
    from planner.answer.estimate import estimate

    strategy = setup.get("strategy")
    ran = (
        {"micro_batch": setup["micro_batch"]}
        if question.micro_batch is None and setup.get("micro_batch")
        else {}
    )
    if setup.get("gpu") and not _same_device(question.gpu, setup["gpu"]):
        ran["gpu"] = setup["gpu"]
    with _same_random_state():
        answer = estimate(
            question.model_copy(
                update={
                    **ran,
                    "offline": True,
                    "strategy": [strategy] if strategy else question.strategy,
                }
            )
        )
    options = [option for option in answer["options"] if strategy in (None, option["strategy"])]
    if len(options) != 1:
        raise QuestionError(
            f"the answer holds {len(options)} options of this run", mend="Name one strategy"
        )
    return of_option(options[0])


def _same_device(named: str | None, ran: str) -> bool:
    from planner.devices.lookup import resolve_device

    return named is not None and resolve_device(named).spec.key == resolve_device(ran).spec.key


def of_option(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option of an answer, by the names of a record's ``estimate``; what the option leaves open
    is left out."""
    memory, step = option.get("memory") or {}, option.get("step") or {}
    found = {
        "basis": option.get("basis"),
        "fits": option.get("fits"),
        "step_seconds": step.get("seconds"),
        "forward_seconds": step.get("forward_seconds"),
        "micro_batch": step.get("micro_batch_size"),
        "accumulation": step.get("gradient_accumulation"),
        "sequence_length": step.get("sequence_length"),
        **{
            name: memory.get(name)
            for name in ("allocated_bytes", "reserved_bytes", "device_used_bytes")
        },
        "wall_hours": (option.get("run") or {}).get("wall_hours"),
        "usd": (option.get("cost") or {}).get("usd"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _same_random_state() -> Any:
    import torch

    return torch.random.fork_rng(devices=[])
