"""One recorded step: model + recipe + point → RawTrace. The steady state: optimizer state is there
before it begins."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from planner.blame import failure
from planner.errors import ModelError, PlannerError
from planner.models.building.experts import idle_parameters
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import RawTrace, Recorder, quiet
from planner.training.optimizers import OPTIMIZERS, state_tensors
from planner.training.recipe import Recipe
from planner.training.registry import strategy_of
from planner.training.strategy import count

AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}
WEIGHTS = {"bf16": "bfloat16", "fp16": "float16"}


class StepRunner:
    """A model built once, with the strategy applied, whose step can be recorded at any point."""

    def __init__(self, build: Callable, recipe: Recipe, build_teacher: Callable | None = None):
        """``build()`` and ``build_teacher()`` return fresh BuiltModels. Raises the errors of
        building and applying."""
        self.recipe = recipe
        with quiet():
            self.built = build()
            if recipe.gradient_checkpointing != "none":
                enable_checkpointing(self.built, recipe.gradient_checkpointing)
            self.prepared = strategy_of(recipe).apply(self.built, recipe, build_teacher)
            self.optimizer = None if self.prepared.inference else self._make_optimizer()
        self.answers: set[str] = set()
        self._orders: dict[int, dict[str, int]] = {}
        self.module_calls = 0

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """With its state already made, as after the first step of a run."""
        params = self.prepared.trainable
        if not params:
            raise ModelError("nothing is left to train")
        optimizer = OPTIMIZERS[self.recipe.optimizer].recorded(params)
        for p in params:
            p.grad = torch.empty_like(p)
        with as_if_on_cuda(CudaLike(numbers=1.0)):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return optimizer

    def record(self, **point: int) -> RawTrace:
        """Record the step at a point. Raises ModelError, in one line, when the model's own code or
        torch fails on meta."""
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()  # a cycle collected in the middle would end lifetimes at arbitrary operations
        try:
            with quiet():
                return self._record(point)
        except PlannerError:
            raise
        except Exception as error:
            name = self.built.facts.name
            raise failure(error, "when one step is traced", name) from error
        finally:
            if collecting:
                gc.enable()

    def _record(self, point: dict) -> RawTrace:
        prepared, amp = self.prepared, AUTOCAST.get(self.recipe.precision)
        recorder = Recorder(prepared.module)
        mode = CudaLike(
            amp,
            casting=lambda: recorder.phase in ("forward", "teacher") or recorder.recomputing,
            inside=lambda: amp is not None and recorder.phase in ("forward", "teacher"),
            align_masks="S" not in self.built.symbols,
        )
        mode.on_answer = recorder.synchronise
        if prepared.teacher is not None:
            recorder.add_names(prepared.teacher, "teacher")
        with as_if_on_cuda(mode):
            batch = prepared.batch(**point)
            mode.clear_cache()  # weights that were cast while making the batch belong to no step
        self._mark_what_is_there(recorder, batch)
        with recorder, as_if_on_cuda(mode):
            loss = self._forward(recorder, batch)
            mode.clear_cache()
            recorder.forward_ends()
            if self.optimizer is not None:
                self._backward_and_update(recorder, mode, loss, self.optimizer)
        raw = recorder.finish()
        self.answers |= mode.answers
        self.module_calls = raw.module_calls
        for parameter in prepared.trainable:
            parameter.grad = None
        return raw

    def _forward(self, recorder: Recorder, batch: dict):
        if self.prepared.teacher is None:
            return self.prepared.forward(batch)

        def phase(name):
            return lambda: setattr(recorder, "phase", name)

        return self.prepared.forward(batch, phase("teacher"), phase("forward"))

    def _backward_and_update(
        self,
        recorder: Recorder,
        mode: CudaLike,
        loss: torch.Tensor,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        recorder.phase = "backward"
        # not the method: a function mode would be off inside it, and recomputation needs it
        torch.autograd.backward(loss)
        grads = [p.grad for p in self.prepared.trainable if p.grad is not None]
        recorder.mark(grads, "gradients")
        recorder.phase = "optimizer"
        # the gradient scaler looks for overflow before every step
        if self.recipe.precision == "amp_fp16":
            torch.ops.planner.unscale(grads)
            recorder.synchronise()
        del grads
        # Adafactor scales by norms that it reads back: any number gives the same operations
        mode.numbers = 1.0
        optimizer.step()

    def _mark_what_is_there(self, recorder: Recorder, batch: dict) -> None:
        for module in filter(None, (self.prepared.module, self.prepared.teacher)):
            named = self._in_order(module)
            recorder.mark(
                [t for _, t in named],
                "weights",
                lambda i, named=named: named[i][0].rpartition(".")[0],
            )
        if self.optimizer is not None:
            recorder.mark(state_tensors(self.optimizer), "optimizer")
        recorder.mark([t for t in batch.values() if isinstance(t, torch.Tensor)], "activations")

    def _in_order(self, module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
        """Parameters and buffers in the order of the first step: PEFT's adapters on experts put a
        weight to the end of its module each time that it runs."""
        named = [*module.named_parameters(), *module.named_buffers()]
        order = self._orders.setdefault(id(module), {})
        for name, _ in named:
            order.setdefault(name, len(order))
        return sorted(named, key=lambda item: order[item[0]])

    def counts(self) -> dict[str, Any]:
        """Parameters, total and trainable, and the bytes a saved checkpoint takes (trained weights,
        or all of them)."""
        trainable = self.prepared.trainable
        saved = (
            trainable
            if strategy_of(self.recipe).uses_lora
            else list(self.prepared.module.parameters())
        )
        return {
            "total_params": self.prepared.total_parameters,
            "trainable_params": count(trainable),
            "checkpoint_bytes": sum(
                p.numel() * p.element_size() for p in {id(p): p for p in saved}.values()
            ),
            "gradient_bytes": sum(p.numel() * p.element_size() for p in trainable),
            "module_calls": self.module_calls,
            **self._experts(),
            **self._kept_wide(),
            **self._unmatched(),
        }

    def _experts(self) -> dict[str, int]:
        """Parameters that one token runs through, where experts share the work; those of adapters
        where others train beside them."""
        idle = idle_parameters(self.prepared.module)
        found = {"active_params": self.prepared.total_parameters - idle} if idle else {}
        own = self.prepared.adapter_parameters
        beside = own and own != count(self.prepared.trainable)
        return found | ({"adapter_params": own} if beside else {})

    def _unmatched(self) -> dict[str, list[str]]:
        """Places of adapters that the model does not have, where such are named."""
        lost = self.prepared.unmatched_targets
        return {"unmatched_targets": lost} if lost else {}

    def _kept_wide(self) -> dict[str, int]:
        """Weights that loading in few bits leaves as they are, where there are such."""
        if not self.prepared.kept_wide_bytes:
            return {}
        return {
            "kept_wide_bytes": self.prepared.kept_wide_bytes,
            "kept_stored_bytes": self.prepared.kept_stored_bytes,
        }


def enable_checkpointing(built, policy: str) -> None:
    """Gradient checkpointing on the model's blocks: ``full`` recomputes all of a block,
    ``selective`` keeps the outputs of matrix products and attention (torch's selective activation
    checkpointing)."""
    if policy == "full":
        built.enable_checkpointing()
        return
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    aten = torch.ops.aten
    keep = {
        aten.mm.default,
        aten.addmm.default,
        aten.bmm.default,
        aten.convolution.default,
        torch.ops.planner.attention.default,
        # what a fused attention is on a real device
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_cudnn_attention.default,
        aten._scaled_dot_product_flash_attention_for_cpu.default,
    }

    def choose(_context, operation, *_args, **_kwargs):
        return (
            CheckpointPolicy.MUST_SAVE if operation in keep else CheckpointPolicy.PREFER_RECOMPUTE
        )

    built.enable_checkpointing(context_fn=lambda: create_selective_checkpoint_contexts(choose))
