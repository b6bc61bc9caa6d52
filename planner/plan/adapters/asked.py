"""What a method of adapters makes of a question: its size, and what does not go with it."""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName, ModelError, QuestionError
from planner.models.facts import ModelFacts
from planner.models.quantization.stored import Quantization
from planner.question import Question
from planner.question.adapters import LORA, Method, method_of
from planner.question.training_setting import LORA as ADAPTED
from planner.question.training_setting import SUPERVISED

BITSANDBYTES = "bitsandbytes"


def method_asked(question: Question, strategy: str) -> Method | None:
    """None for LoRA, and for a strategy without adapters."""
    own = strategy in ADAPTED and question.adapter not in (None, LORA)
    return method_of(question.adapter) if own else None


def size_of(question: Question, method: Method) -> int | None:
    """How large an adapter is (a rank, numbers of a block, tokens): as asked, else by PEFT's own
    default, and of LoRA's kin as LoRA's here."""
    if method.size is None:
        return None
    asked = method.size in question.model_fields_set or method.default is None
    return getattr(question, method.size) if asked else method.default


def sizes(question: Question, strategy: str) -> dict[str, Any]:
    """The traced setting of the size, where a method is asked."""
    method = method_asked(question, strategy)
    if method is None or method.size is None:
        return {}
    return {method.size: size_of(question, method) or method.default}


def check_adapter(
    question: Question, facts: ModelFacts, strategy: str, stored: Quantization | None
) -> None:
    """Raises ModelError where the strategy does not go with the method, QuestionError where a field
    does not. ``stored``: how the frozen weights lie, None for plain ones."""
    method = method_asked(question, strategy)
    if method is None:
        return
    if stored is not None and not _stands_over(method, stored):
        raise ModelError(
            f"{method.words} is not planned over {stored.words} weights",
            where=facts.name,
            mend=f"Ask for {FieldName('adapter')} {LORA}, or for plain weights",
        )
    if question.gradient_checkpointing not in ("auto", "none") and not method.checkpoints:
        raise QuestionError(
            f"PEFT's {method.words} does not work with gradient checkpointing, which would drop "
            "what it trains",
            where=FieldName("gradient_checkpointing"),
            mend="Ask for none, or leave it out",
        )
    if question.compile and not method.compiles:
        raise QuestionError(
            f"a step of {method.words} is not planned under torch.compile",
            where=FieldName("compile"),
            mend="Leave it out",
        )
    if method.has_virtual_tokens:
        _check_virtual_tokens(question, facts, method)


def _stands_over(method: Method, stored: Quantization) -> bool:
    own = method.quantised == BITSANDBYTES and stored.method.startswith(BITSANDBYTES)
    return own or method.quantised == "any"


def _check_virtual_tokens(question: Question, facts: ModelFacts, method: Method) -> None:
    tokens = size_of(question, method) or 0
    if facts.max_length and tokens >= facts.max_length:
        raise QuestionError(
            f"{tokens:,} virtual tokens leave no place for text in {facts.name}, which has "
            f"{facts.max_length:,}",
            where=FieldName("virtual_tokens"),
        )
    if question.objective not in (None, SUPERVISED):
        raise ModelError(
            f"{method.words} is not planned with an objective: TRL's losses count the text's "
            "tokens, and not the virtual ones before it",
            where=facts.name,
            mend=f"Ask for {FieldName('adapter')} {LORA}",
        )
    if question.kernels is not None:
        raise QuestionError(
            f"kernels of {question.kernels} are not planned with the virtual tokens of "
            f"{method.words}",
            where=FieldName("kernels"),
            mend="Leave them out",
        )
    if question.loss not in (None, "plain"):
        raise QuestionError(
            f"a {question.loss} loss is not planned with the virtual tokens of {method.words}",
            where=FieldName("loss"),
            mend="Leave it out",
        )


def text_left(
    question: Question, facts: ModelFacts, strategy: str, length: int | None
) -> int | None:
    """The longest text (tokens) beside virtual tokens, in a model of so many places."""
    method = method_asked(question, strategy)
    if method is None or not method.has_virtual_tokens or length is None or not facts.max_length:
        return length
    return max(1, min(length, facts.max_length - (size_of(question, method) or 0)))


def checkpointing(question: Question, strategy: str, policies: tuple[str, ...]) -> tuple[str, ...]:
    """The policies that go with the method."""
    method = method_asked(question, strategy)
    return policies if method is None or method.checkpoints else ("none",)
