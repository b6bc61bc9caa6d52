"""What a run's own software brings with it: kernels written by hand, and optimizers that are not as
others."""

from __future__ import annotations

from typing import Any

from planner import tables
from planner.datasets.batching import FREE
from planner.devices.specification import DeviceSpec
from planner.errors import FieldName, ModelError, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.models.quantization.stored import Quantization
from planner.plan.objectives.asked import objective_asked
from planner.question import Question
from planner.question.optimizers import asked_row
from planner.question.stack import stack_of
from planner.question.training_setting import IN_FLOAT8, SUPERVISED, TUNED_BY
from planner.training.kernel_families import LOSS, UNSLOTH, families
from planner.training.objective import TRL

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
    objective = objective_asked(question)
    fuses = LOSS in parts and question.loss is None
    fuses = fuses and (objective is None or not objective.is_traced)
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


def check_float8(question: Question, strategy: str, spec: DeviceSpec) -> None:
    """Raises QuestionError where products in 8-bit floats are asked that no library or no device
    runs: adapters alone, an objective beside, hardware without them."""
    if question.float8 is None:
        return
    where = FieldName("float8")
    if question.strategy and not set(question.strategy) & set(IN_FLOAT8):
        raise QuestionError(
            "float8 is planned where linear layers train themselves, as in torchtune's recipes, "
            f"and {', '.join(question.strategy)} leaves them frozen",
            where=where,
            mend=f"Leave it out, or ask for {FieldName('strategy')} {' or '.join(IN_FLOAT8)}",
        )
    if strategy not in IN_FLOAT8:
        return
    if question.objective not in (None, SUPERVISED):
        raise QuestionError(
            f"{question.objective} is planned without products in float8",
            where=where,
            mend="Leave it out",
        )
    if question.float8_layers == "auto" and question.float8 == "rowwise_with_gw_hp":
        raise QuestionError(
            "torchao's auto filter knows tensorwise and rowwise",
            where=FieldName("float8_layers"),
            mend="Leave it out",
        )
    if not spec.supports("fp8") or (spec.pricing == "datasheet" and spec.peak("fp8") is None):
        raise QuestionError(
            f"{spec.name} does not multiply in float8, which NVIDIA's GPUs do from compute "
            "capability 8.9 on (Ada, Hopper, Blackwell)",
            where=where,
            mend="Leave it out, or name such a GPU",
        )


def check_strategy(facts: ModelFacts, task: str, strategy: str) -> None:
    """Raises ModelError for a strategy that makes no sense on the task."""
    for row in tables.rows("models", "task_strategies.csv"):
        if (row["task"], row["strategy"]) == (task, strategy):
            raise ModelError(
                f"{strategy} makes no sense on {task}: {row['reason']}",
                where=facts.name,
                mend=f"Ask for {FieldName('strategy')} {row['mend']}",
            )


def check_objective(question: Question, facts: ModelFacts, strategy: str) -> None:
    """Raises ModelError for a strategy that an objective does not go with."""
    objective = objective_asked(question)
    own = objective is not None and objective.is_traced
    if objective is not None and own and question.loss not in (None, "plain"):
        raise QuestionError(
            f"{objective.title} has a loss of its own, which is planned as {objective.library} "
            "computes it",
            where=FieldName("loss"),
            mend="Leave it out",
        )
    if objective is not None and strategy not in TUNED_BY:
        raise ModelError(
            f"{strategy} is not planned with {objective.title}",
            where=facts.name,
            mend=f"Ask for {FieldName('strategy')} {', '.join(TUNED_BY)}",
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
    """Of weights in few bits: Unsloth leaves the rest in 16 bits, and so do most of TRL's trainers
    by preference and reward, each since a day of its own."""
    if "kbit_preparation" in question.model_fields_set:
        return question.kbit_preparation
    if question.kernels == UNSLOTH:
        return "none"
    return _of_objective(question, "kbit_preparation") or question.kbit_preparation


def cast_adapters(question: Question, stored: Quantization | None) -> dict[str, Any]:
    """The number format of adapters where an objective's trainer casts them and nothing is asked:
    TRL's over weights in few bits alone."""
    objective = objective_asked(question)
    if objective is None or "adapter_precision" in question.model_fields_set:
        return {}
    if stored is None and objective.library == TRL:
        return {}
    own = _of_objective(question, "adapter_precision")
    wide = stored is not None and preparation(question) != "none"
    return {"adapter_precision": own} if own and not wide else {}


def _of_objective(question: Question, key: str) -> str | None:
    """A word of the stack's day for the trainer of an objective."""
    if question.objective in (None, SUPERVISED):
        return None
    return stack_of(question.stack).word(f"{key}.{question.objective}")


def _model_type(facts: ModelFacts) -> str:
    config = facts.config or {}
    text = config.get("text_config")
    return str((text if isinstance(text, dict) else config).get("model_type") or "")


def software_lines(
    question: Question, facts: ModelFacts, optimizer: str, strategy: str
) -> list[FirstLine]:
    """What of it stands in the first lines: which parts are replaced, and what is left out."""
    lines: list[FirstLine] = []
    if question.float8 is not None and strategy in IN_FLOAT8 and not question.compile:
        text = (
            f"float8 without {FieldName('compile')}: each cast is several kernels that write the "
            "tensor anew, which torchao calls slower than 16 bits"
        )
        lines.append(FirstLine("run", text, warning=True))
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
