"""What a run's own software brings with it: kernels written by hand, and optimizers that are not as
others."""

from __future__ import annotations

from typing import Any

from planner.datasets.batching import FREE
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.question import Question
from planner.question.optimizers import asked_row
from planner.question.training_setting import SUPERVISED
from planner.training.kernel_families import LOSS, UNSLOTH, families

#: Attentions that take samples of several lengths in one row.
VARYING = ("flash", "flex")
FLEX = "flex"


def kernel_settings(question: Question, facts: ModelFacts) -> dict[str, Any]:
    """Traced settings that kernels imply where the question does not say otherwise. Raises
    QuestionError for a model that they are not there for, and under torch.compile."""
    if question.kernels is None:
        return {}
    known = families(question.kernels)
    parts = known.get(_model_type(facts))
    if parts is None:
        raise QuestionError(
            f"{question.kernels}'s kernels are planned for {', '.join(sorted(known))}, and "
            f"{facts.name} is of the type {_model_type(facts) or facts.library}",
            where=FieldName("kernels"),
            mend="Leave it out: torch's own kernels run",
        )
    if question.compile:
        raise QuestionError(
            f"{question.kernels}'s kernels are planned without torch.compile",
            where=FieldName("kernels"),
            mend=f"Leave out {FieldName('kernels')} or {FieldName('compile')}",
        )
    fuses = LOSS in parts and question.loss is None and question.objective in (None, SUPERVISED)
    return {"loss": "fused"} if fuses else {}


def check_attention(question: Question, facts: ModelFacts) -> None:
    """Raises QuestionError for a kernel that the model's library does not ask for."""
    if question.attention == FLEX and facts.library != "transformers":
        raise QuestionError(
            f"flex attention is asked for by transformers' models, and {facts.name} is of "
            f"{facts.library}",
            where=FieldName("attention"),
            mend="Leave it out",
        )


def check_padding(question: Question, facts: ModelFacts) -> None:
    """Raises QuestionError for batches without padding where no kernel runs them."""
    if question.padding != FREE:
        return
    task = question.task or facts.task
    if task != "causal_lm":
        raise QuestionError(
            f"batches without padding are of decoders that write text, and this trains {task}",
            where=FieldName("padding"),
            mend="Ask for longest",
        )
    if "attention" in question.model_fields_set and question.attention not in VARYING:
        raise QuestionError(
            f"{question.attention} attention knows no lengths within a row, which batches without "
            "padding have",
            where=FieldName("attention"),
            mend=f"Ask for {' or '.join(VARYING)}, or leave it out",
        )
    if question.group_by_length:
        raise QuestionError(
            "batches without padding have nothing to gain from samples of one length",
            where=FieldName("group_by_length"),
            mend="Leave it out",
        )


def preparation(question: Question) -> str:
    """Of weights in few bits: Unsloth leaves the rest in 16 bits."""
    if question.kernels == UNSLOTH and "kbit_preparation" not in question.model_fields_set:
        return "none"
    return question.kbit_preparation


def _model_type(facts: ModelFacts) -> str:
    config = facts.config or {}
    text = config.get("text_config")
    return str((text if isinstance(text, dict) else config).get("model_type") or "")


def software_lines(question: Question, facts: ModelFacts, optimizer: str) -> list[FirstLine]:
    """What of it stands in the first lines: which parts are replaced, and what is left out."""
    lines: list[FirstLine] = []
    if question.kernels is not None:
        parts = sorted(families(question.kernels)[_model_type(facts)])
        named = ", ".join(part.removesuffix("_apart") for part in parts)
        text = f"kernels of {question.kernels}, recorded as they run: {named}"
        offloads = "activations" in (question.offload or ())
        if question.kernels == UNSLOTH and not offloads:
            text += (
                f"; its own checkpointing is {FieldName('gradient_checkpointing')} full with "
                f"{FieldName('offload')} activations"
            )
        lines.append(FirstLine("run", text))
    if question.padding == FREE:
        text = (
            "batches without padding: the samples of a micro-batch one after the other, by "
            f"{FLEX if question.attention == FLEX else 'flash'} attention's kernels for lengths "
            "that vary; priced at their mean length"
        )
        lines.append(FirstLine("run", text))
    if question.attention == FLEX:
        text = "flex attention's kernels are compiled at the first step, which no hour holds"
        lines.append(FirstLine("left_out", text))
    row = asked_row(optimizer)
    if row is not None and row.left_out is not None:
        lines.append(FirstLine("left_out", f"{optimizer}: {row.left_out}", warning=True))
    return lines


def check_optimizer(question: Question, optimizer: str) -> None:
    """Raises QuestionError for one that updates in the backward pass and is asked not to."""
    row = asked_row(optimizer)
    if row is not None and row.in_backward and question.optimizer_in_backward is False:
        raise QuestionError(
            f"{optimizer} updates each weight inside the backward pass",
            where=FieldName("optimizer_in_backward"),
            mend="Leave it out, or ask for another optimizer",
        )


def check_batch(question: Question, optimizer: str, batch: int, micro_batch: int) -> None:
    """Raises QuestionError for updates inside the backward pass with a batch of several
    micro-batches, whose gradients cannot wait."""
    if batch > micro_batch * question.gpus:
        raise QuestionError(
            f"{updates_within(question, optimizer)} updates after every micro-batch, and "
            f"{micro_batch} samples on {question.gpus} GPU(s) are no batch of {batch}",
            where=FieldName("global_batch"),
            mend=f"Leave it out, or ask for {FieldName('micro_batch')} {batch // question.gpus}",
        )


def updates_within(question: Question, optimizer: str) -> str:
    """What asks for updates in the backward pass."""
    if question.offload:
        return f"{FieldName('offload')} {','.join(question.offload)}"
    own = question.optimizer_in_backward
    return str(FieldName("optimizer_in_backward")) if own else optimizer
