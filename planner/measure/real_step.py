"""One training step as a user would run it: the real model, the strategy really applied, the real
optimizer, a real device.

Torch is imported inside the functions: a question answered from the ledger's tables needs none.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from planner.errors import FieldName, ModelError, QuestionError
from planner.measure.bitsandbytes import bitsandbytes, torchao
from planner.models.facts import ModelFacts
from planner.question.optimizers import run_by
from planner.training.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from planner.models.building.built import BuiltModel

LEARNING_RATE = 1e-5  # small enough that random weights and data stay finite; changes no cost


class RealStep:
    """``step()`` runs one optimizer step over ``accumulation`` micro-batches; ``mark(name)`` is
    called at its moments (``forward`` after the first micro-batch's forward pass, ``end`` after the
    update).

    Raises what building and applying raise, MissingExtraError where bitsandbytes is needed and
    missing, and torch's own error when memory is not enough. ``feature_extraction``'s variant
    ``features`` has no update: its step is the forward pass.
    """

    def __init__(
        self,
        facts: ModelFacts,
        recipe: Recipe,
        device: str,
        *,
        micro_batch: int,
        sequence_length: int | None = None,
        target_length: int | None = None,
        accumulation: int = 1,
        teacher: ModelFacts | None = None,
    ):
        import torch

        self.recipe, self.accumulation = recipe, accumulation
        self.device_type = torch.device(device).type
        self.prepared = prepare(facts, recipe, device, teacher)
        self.optimizer = (
            None
            if self.prepared.inference
            else optimizer_of(recipe.optimizer, self.prepared.trainable)
        )
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=recipe.precision == "amp_fp16")
        point = {"B": micro_batch, "S": sequence_length, "T": target_length}
        self.batch = _with_features(self.prepared.batch(**point), recipe)
        if recipe.compile:
            self.prepared.module.compile()

    def __call__(self, mark: Callable[[str], None] = lambda name: None) -> None:
        for micro_step in range(self.accumulation):
            with autocast(self.recipe.precision, self.device_type):
                loss = self.prepared.forward(self.batch)
            if micro_step == 0:
                mark("forward")
            if self.optimizer is not None:
                self.scaler.scale(
                    loss / self.accumulation if self.accumulation > 1 else loss
                ).backward()
            del loss
        if self.optimizer is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.prepared.after_update is not None:
                self.prepared.after_update()
            self.optimizer.zero_grad(set_to_none=True)
        mark("end")


def prepare(
    facts: ModelFacts, recipe: Recipe, device: str, teacher: ModelFacts | None = None
) -> Any:
    """The model on the device with random weights, the strategy applied:
    ``planner.training.strategy.Prepared``."""
    from planner.trace.recorder.policy import enable_checkpointing
    from planner.trace.recorder.regimes import build_for
    from planner.training.optimizers import mark_outer
    from planner.training.registry import strategy_of

    if recipe.strategy == "distillation" and teacher is None:
        raise QuestionError(
            "distillation needs a teacher",
            where=FieldName("teacher"),
            mend="Name a model to learn from",
        )
    built = build_for(facts, recipe, device)
    if recipe.gradient_checkpointing != "none":
        enable_checkpointing(built, recipe.gradient_checkpointing)
    if recipe.strategy == "qlora" or recipe.load_in or recipe.lora_rank and facts.quantization:
        from planner.measure.real_qlora import apply_qlora

        prepared = apply_qlora(built, recipe, device)
        mark_outer(prepared.module, built.head)
        return prepared

    def build_teacher() -> BuiltModel:
        if teacher is None:
            raise ModelError("there is no teacher to build")
        return build_for(teacher, replace(recipe, gradient_checkpointing="none"), device)

    prepared = strategy_of(recipe).apply(built, recipe, build_teacher)
    mark_outer(prepared.module, built.head)
    return prepared


def optimizer_of(name: str, params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that a user gets by this name: torch's own with torch's own choice of
    implementation, bitsandbytes' where the name is one of theirs. Raises ModelError for nothing to
    train, QuestionError for an unknown name, MissingExtraError."""
    from planner.training.optimizers import OPTIMIZERS

    if not params:
        raise ModelError("nothing is left to train")
    own = {row: entry.real for row, entry in OPTIMIZERS.items() if entry.real is not None}
    theirs = run_by()
    if name in theirs:
        library, _, kind = theirs[name].partition(".optim.")
        found = bitsandbytes if library == "bitsandbytes" else torchao
        module = found(f"the optimizer {name}")
        return getattr(getattr(module, "optim", module), kind)(params, lr=LEARNING_RATE)
    if name not in own:
        raise QuestionError(
            f"no optimizer {name!r} to run",
            where=FieldName("optimizer"),
            mend=f"Use one of {', '.join([*own, *theirs])}",
        )
    return own[name](params, lr=LEARNING_RATE)


def autocast(precision: str, device_type: str) -> contextlib.AbstractContextManager:
    import torch

    from planner.trace.recorder.step_runner import AUTOCAST

    return (
        torch.autocast(device_type, AUTOCAST[precision])
        if precision in AUTOCAST
        else contextlib.nullcontext()
    )


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 in products and convolutions, or float32 throughout (torch's own default is TF32 in
    convolutions only)."""
    import torch

    product: Any = torch.backends.cuda.matmul
    convolution: Any = torch.backends.cudnn
    before = product.allow_tf32, convolution.allow_tf32
    product.allow_tf32 = convolution.allow_tf32 = allowed
    try:
        yield
    finally:
        product.allow_tf32, convolution.allow_tf32 = before


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, on any device (only CUDA has a class for
    it)."""
    import torch

    text = str(error).lower()
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or isinstance(error, RuntimeError)
        and (
            "out of memory" in text
            or "can't allocate memory" in text
            or "cudaerrormemoryallocation" in text
            or "alloc_failed" in text
        )
    )


def release(device_type: str) -> None:
    """Give cached memory back, so that the next run starts from nothing."""
    import torch

    gc.collect()
    if device_type == "cuda":
        torch.cuda.empty_cache()
    elif device_type == "mps":
        torch.mps.empty_cache()


def _with_features(batch: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Cached features are recorded as empty tensors: on a real device they hold values."""
    if recipe.variant == "cached":
        for value in batch.values():
            if hasattr(value, "is_floating_point") and value.is_floating_point():
                value.normal_()
    return batch
