"""The peak of one training step by torch's own ``MemTracker``, on fake tensors or on real ones."""

from __future__ import annotations

from typing import Any


class NoModules:
    """In place of the tracker's view of modules, of which only the totals are wanted here: its
    hooks refuse modules that are called twice in a step (an encoder of queries and passages) and
    outputs without gradients (a frozen position table), which real training takes."""

    parents: frozenset[str] = frozenset()
    is_bw = False

    def register_user_hooks(self, *hooks: Any) -> None:
        pass

    def clear_user_hooks(self) -> None:
        pass

    def __enter__(self) -> NoModules:
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def peak(facts: Any, recipe: Any, point: dict[str, int], real: bool) -> float:
    """Bytes at the peak of one step of the planner's module and loss under AdamW, whose states
    exist before. ``real``: with values on the processor, for a step that reads some of them (which
    fake tensors have not); the largest tensors then lie in this machine's memory."""
    from planner.trace.recorder.dispatch_mode import quiet
    from planner.trace.recorder.regimes import build_for

    if real:
        built = build_for(facts, recipe, "cpu")
        return _step(built, built.make_batch(point["B"], point.get("S"), point.get("T")))
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._pytree import tree_map

    built = build_for(facts, recipe)
    shapes = built.make_batch(point["B"], point.get("S"), point.get("T"))
    with quiet(), FakeTensorMode(allow_non_fake_inputs=True):
        _onto_processor(built.module)
        return _step(built, tree_map(_fake, shapes))


def _step(built: Any, batch: dict[str, Any]) -> float:
    import torch
    from torch.distributed._tools.mem_tracker import MemTracker

    for name, parameter in built.module.named_parameters():
        if name in built.frozen:  # as the strategy's own steps do before they train
            parameter.requires_grad_(False)
    trained = [p for p in built.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, foreach=False)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    tracker: Any = MemTracker()
    tracker._mod_tracker = NoModules()
    tracker.track_external(built.module, optimizer, *_tensors(batch))
    with tracker:
        built.loss(built.module, batch).backward()
        optimizer.step()
    peaks = tracker.get_tracker_snapshot("peak")
    return float(max(found["Total"] for found in peaks.values()))


def _fake(value: Any) -> Any:
    """A tensor as large on the processor; one without values in fake mode."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cpu")


def _onto_processor(module: Any) -> None:
    """Every parameter and buffer replaced; what is tied stays so."""
    import torch

    made: dict[int, Any] = {}
    for part in module.modules():
        for name, tensor in list(part._parameters.items()):
            if tensor is not None:
                if id(tensor) not in made:
                    made[id(tensor)] = torch.nn.Parameter(_fake(tensor), tensor.requires_grad)
                part._parameters[name] = made[id(tensor)]
        for name, tensor in list(part._buffers.items()):
            if tensor is not None:
                part._buffers[name] = made.setdefault(id(tensor), _fake(tensor))


def _tensors(batch: dict[str, Any]) -> list[Any]:
    import torch
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(batch) if isinstance(leaf, torch.Tensor)]
