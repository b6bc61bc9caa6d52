"""One recorded step: model + recipe + point → RawTrace. The steady state: optimizer state is there
before it begins."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from planner.blame import failure
from planner.deferred import COMPILER, deferred
from planner.errors import FieldName, ModelError, PlannerError
from planner.models.building.experts import idle_parameters
from planner.trace.raw import RawTrace
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.beside import Beside
from planner.trace.recorder.compiled.parts import compiled
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder, quiet
from planner.trace.recorder.names import Names
from planner.trace.recorder.policy import Policy
from planner.trace.recorder.repeat.recording import Repeated
from planner.trace.recorder.repeat.stacks import Stack, find_stacks
from planner.trace.recorder.updates_within import UpdatesWithin
from planner.trace.recorder.updating import (
    Spec,
    made,
    mark_gradients,
    on_the_host,
    recorded_update,
    spec,
    update,
)
from planner.trace.recorder.waiting import Waiting
from planner.training.adapters import trunk_of
from planner.training.objective import tuned
from planner.training.optimizers import mark_outer, state_tensors
from planner.training.recipe import Recipe
from planner.training.registry import objective_of, strategy_of
from planner.training.strategy import count

AUTOCAST = {"amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}
WEIGHTS = {"bf16": "bfloat16", "fp16": "float16"}


class StepRunner:
    """A model built once, with the strategy applied, whose step can be recorded at any point."""

    def __init__(
        self,
        build: Callable,
        recipe: Recipe,
        build_teacher: Callable | None = None,
        build_real: Callable | None = None,
    ):
        """``build()`` and ``build_teacher()`` return fresh BuiltModels; copies of an objective's
        model are ``build_teacher(task)``. ``build_real()``: the model on the processor, with
        weights; for those that ask their data. Raises the errors of building and applying."""
        self.recipe = recipe
        with quiet():
            self.built = build()
            self.beside = Beside(self.built.facts.name, self.built.module, build_real)
            self.policy = Policy(self.built)
            self._checkpoint()
            self.prepared = strategy_of(recipe).apply(self.built, recipe, build_teacher)
            objective = objective_of(recipe)
            if objective is not None and build_teacher is not None:
                copies = self.built, recipe, objective, build_teacher
                self.prepared = tuned(self.prepared, *copies)
        if not self.prepared.inference and not self.prepared.trainable:
            raise ModelError("nothing is left to train")
        mark_outer(self.prepared.module, self.built.head)
        self.answers: set[str] = set()
        self._orders: dict[int, dict[str, int]] = {}
        self.module_calls = 0
        self._names = self._named()
        self._proven_whole: set[tuple] = set()
        self.regions = compiled(self.built, self._stacks) if recipe.compile else None

    def under(self, policy: str) -> StepRunner:
        """A runner of the same model under another policy of checkpointing; this one stays good.
        What was proven of the whole model's forward pass is proven of its."""
        other = copy.copy(self)
        other.recipe = replace(self.recipe, gradient_checkpointing=policy)
        for own in ("optimizer", "repeated", "within"):
            vars(other).pop(own, None)
        other.answers, other.module_calls = set(), 0
        if strategy_of(self.recipe).uses_lora:
            self.policy.adapted = trunk_of(self.built)
        return other

    def _checkpoint(self) -> None:
        """Raises ModelError for a model that cannot: of weights in few bits, whose preparation asks
        for it, with the way around."""
        try:
            self.policy.become(self.recipe.gradient_checkpointing)
        except ModelError as error:
            if self.recipe.strategy != "qlora" and self.recipe.load_in is None:
                raise
            raise ModelError(
                "PEFT's preparation of weights in few bits switches gradient checkpointing on, and "
                "this model has none",
                where=self.built.facts.name,
                mend=f"Ask for {FieldName('kbit_preparation')} none",
            ) from error

    def _named(self) -> Names:
        """The whole model's, which blocks keep when others are taken out."""
        names = Names()
        for module, prefix in ((self.prepared.module, ""), (self.prepared.teacher, "teacher.")):
            if module is not None:
                names.add(module, prefix)
        return names

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """Of a step that is recorded whole."""
        if self.prepared.inference or self.within is not None:
            return None
        return made(self.prepared.trainable, self.recipe)

    @cached_property
    def within(self) -> UpdatesWithin | None:
        """The updates of a step that runs them inside its backward pass."""
        if self.prepared.inference or not self.recipe.optimizer_in_backward:
            return None
        owners = self._names.owners
        return UpdatesWithin(self.prepared.trainable, self.recipe, owners)

    @cached_property
    def _stacks(self) -> list[Stack]:
        roots = [self.built.module, self.prepared.module, self.prepared.teacher]
        unique = list({id(root): root for root in roots if root is not None}.values())
        return find_stacks(unique)

    @cached_property
    def repeated(self) -> Repeated:
        """The recordings of the model with few of its equal blocks."""
        without = self.prepared.inference or self.within is not None
        phase = None if without else partial(recorded_update, recipe=self.recipe)
        record, names = self._recorded_without_update, self._names.modules
        return Repeated(self.built.module, record, phase, self._stacks, names, self._proven_whole)

    @deferred(*COMPILER)  # loaded in the middle of a step, it would keep tensors alive
    def record(self, **point: int) -> RawTrace:
        """Record the step at a point. Raises ModelError, in one line, when the model's own code or
        torch fails on meta."""
        collecting = gc.isenabled()
        gc.disable()  # a cycle collected in the middle would end lifetimes at arbitrary operations
        try:
            with quiet():
                self.policy.become(self.recipe.gradient_checkpointing)
                raw = self._on_meta_or_with_values(point)
            self.module_calls = raw.module_calls
            return raw
        except PlannerError:
            raise
        except Exception as error:
            name = self.built.facts.name
            raise failure(error, "when one step is traced", name) from error
        finally:
            if collecting:
                gc.enable()

    def _few_blocks(self, point: dict[str, int]) -> RawTrace | None:
        """Of equal blocks a few are run; None where that cannot be, as with an average of all
        weights that follows the update."""
        return None if self.prepared.after_update is not None else self.repeated.step(point)

    def _on_meta_or_with_values(self, point: dict[str, int]) -> RawTrace:
        """With values beside from the first point on that asks for some."""
        if self.beside.values is None:
            try:
                return self._few_blocks(point) or self.record_whole(point)
            except Exception as error:
                if not self.beside.help(error):
                    raise
        return self.record_whole(point)

    def record_whole(self, point: dict[str, int]) -> RawTrace:
        """Every block, whether or not they are equal."""
        gc.collect()
        return self._recorded(point, self.optimizer)[0]

    def _recorded_without_update(
        self, point: dict, *, forward_only: bool = False
    ) -> tuple[RawTrace, list[tuple[str, Spec]]]:
        return self._recorded(point, None, forward_only=forward_only)

    def _recorded(
        self, point: dict, optimizer: torch.optim.Optimizer | None, *, forward_only: bool = False
    ) -> tuple[RawTrace, list[tuple[str, Spec]]]:
        """(the step as the model is now, owner and description of what trains)."""
        prepared = self.prepared
        recorder = Recorder(prepared.module, self._names.modules)
        mode = self._mode(recorder)
        with self.beside.running(), as_if_on_cuda(mode):
            batch = prepared.batch(**point)
            mode.clear_cache()  # weights that were cast while making the batch belong to no step
        self.beside.begin(batch, point, recorder, mode)
        self._compile_first(recorder, mode, batch)
        waiting = self._waiting()
        with waiting.away(recorder):
            self._mark_what_is_there(recorder, batch, optimizer)
            with self.beside.running(), recorder, as_if_on_cuda(mode):
                with waiting.forward(self._heads()):
                    loss = self._forward(recorder, mode, batch)
                mode.clear_cache()
                recorder.forward_ends()
                if not prepared.inference and not forward_only:
                    self._backward_and_update(recorder, mode, loss, optimizer, waiting)
                waiting.end()
            raw = recorder.finish()
        self.answers |= mode.answers
        if self.regions is not None:
            self.regions.mode = self.regions.recorder = None
            self.answers |= self.regions.said
        trained = self._trained()
        for parameter in prepared.trainable:
            parameter.grad = None
        return raw, trained

    def _compile_first(self, recorder: Recorder, mode: CudaLike, batch: dict) -> None:
        """What is compiled in the middle of a step that is recorded takes autograd's numbers, by
        which backward operations find their module."""
        if self.regions is None or self.beside.values is not None:
            return
        told, mode.on_answer, self.regions.recorder = mode.on_answer, _nobody, None
        with as_if_on_cuda(mode):
            self._forward(recorder, mode, batch)
        mode.clear_cache()
        mode.on_answer, self.regions.recorder, recorder.phase = told, recorder, "forward"

    def _waiting(self) -> Waiting:
        """What of the step waits in the host's memory; nothing of a pass that trains nothing."""
        prepared, recipe = self.prepared, self.recipe
        if prepared.inference:
            recipe = replace(recipe, offload=None)
        blocks = {id(b) for stack in self._stacks if not stack.inner for b in stack.blocks}
        owners = self._names.owners
        return Waiting(recipe, prepared.module, prepared.trainable, blocks, owners)

    def _heads(self) -> list[torch.nn.Module]:
        names = {name.removesuffix(".") for name in self.built.head}
        module: Any = self.built.module
        model = getattr(module, "get_base_model", lambda: module)()  # adapters wrap it
        return [part for name, part in model.named_modules() if name in names]

    def _mode(self, recorder: Recorder) -> CudaLike:
        amp = AUTOCAST.get(self.recipe.precision)
        mode = CudaLike(
            amp,
            casting=lambda: recorder.phase in ("forward", "teacher") or recorder.recomputing,
            inside=lambda: amp is not None and recorder.phase in ("forward", "teacher"),
            align_masks="S" not in self.built.symbols,
            flex=self.recipe.attention == "flex",
        )
        mode.on_answer = recorder.synchronise
        mode.strict = self.built.facts.library == "factory"
        mode.values = self.beside.values
        if self.regions is not None:
            self.regions.mode, self.regions.recorder = mode, recorder
        return mode

    def _trained(self) -> list[tuple[str, Spec]]:
        """Of the model as it is now."""
        there = {id(parameter) for parameter in self.prepared.module.parameters()}
        return [
            (self._names.owners.get(id(p), ""), spec(p))
            for p in self.prepared.trainable
            if id(p) in there
        ]

    def _forward(self, recorder: Recorder, mode: CudaLike, batch: dict):
        if self.prepared.teacher is None and not self.prepared.has_passes:
            return self.prepared.forward(batch)

        def phase(name):
            return lambda: setattr(recorder, "phase", name)

        told = (phase("teacher"), phase("forward"))
        # accelerate opens autocast around each call of a model, so that nothing cast outlives it
        more = (recorder.synchronise, mode.clear_cache) if self.prepared.has_passes else ()
        return self.prepared.forward(batch, *told, *more)

    def _backward_and_update(
        self,
        recorder: Recorder,
        mode: CudaLike,
        loss: torch.Tensor,
        optimizer: torch.optim.Optimizer | None,
        waiting: Waiting,
    ) -> None:
        recorder.phase = "backward"
        # not the method: a function mode would be off inside it, and recomputation needs it
        if self.within is not None:
            with self.within.running(recorder, mode):
                torch.autograd.backward(loss)
            return
        with waiting.backward(recorder):
            torch.autograd.backward(loss)
        if optimizer is None:
            mark_gradients(recorder, self.prepared.trainable)
        else:
            update(recorder, mode, optimizer, self.prepared.trainable, self.recipe)
            if self.prepared.after_update is not None:
                self.prepared.after_update()

    def _mark_what_is_there(
        self, recorder: Recorder, batch: dict, optimizer: torch.optim.Optimizer | None
    ) -> None:
        owners = self._names.owners
        for module in filter(None, (self.prepared.module, self.prepared.teacher)):
            there = [tensor for _, tensor in self._in_order(module)]
            recorder.mark(there, "weights", lambda i, there=there: owners.get(id(there[i]), ""))
        if optimizer is not None:
            recorder.mark(state_tensors(optimizer), "optimizer")
        if self.within is not None:
            self.within.mark_states(recorder, self.prepared.module)
        fed = [part for part in tree_leaves(batch) if isinstance(part, torch.Tensor)]
        recorder.mark(fed, "activations")

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
        or all of them); of stacks whose blocks were repeated, how many were recorded."""
        trainable = self.prepared.trainable
        saved = self.prepared.saved or (
            trainable if strategy_of(self.recipe).uses_lora else list(self._saved().parameters())
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
            **self.beside.said(),
            **on_the_host(self.prepared, self.recipe),
            **({"repeated": self.repeated.cut} if self.repeated.proven else {}),
        }

    def _experts(self) -> dict[str, int]:
        """Parameters that one token runs through, where experts share the work; those of adapters
        where others train beside them."""
        idle = idle_parameters(self.prepared.module)
        found = {"active_params": self.prepared.total_parameters - idle} if idle else {}
        own = self.prepared.adapter_parameters
        beside = own and own != count(self.prepared.trainable)
        return found | ({"adapter_params": own} if beside else {})

    def _saved(self) -> torch.nn.Module:
        """What a checkpoint holds: frozen parts beside what trains are not written."""
        trunk = self.built.trunk
        return self.prepared.module.get_submodule(trunk) if trunk else self.prepared.module

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


def _nobody() -> None:
    """Waits for an answer before the step begins."""
