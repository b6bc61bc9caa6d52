"""Parts of a model as torch.compile runs them: blocks, of equal ones one, and the loss.

AOTAutograd records a part's forward and backward pass as one graph on fake tensors, and its
partitioner decides which values are kept for the backward pass and which are computed again
(min-cut recomputation: ``torch/_functorch/partitioners.py``). Both are torch's own, run here for
real; what becomes one kernel: ``groups``. A part whose code cannot be traced runs as it is, as
after a graph break, and is told.
"""

from __future__ import annotations

import contextlib
import types
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from functorch.compile import aot_function, min_cut_rematerialization_partition
from torch._inductor.decomposition import select_decomp_table
from torch.autograd.graph import saved_tensors_hooks
from torch.fx._lazy_graph_module import _use_lazy_graph_module
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_unflatten

from planner.trace.recorder.compiled.kernels import Kernels
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder

Call = Callable[..., Any]


@dataclass
class Regions:
    """What was compiled, by part and by what it is called with; kept for all points. ``mode`` and
    ``recorder``: those that the step runs in, None outside of a step."""

    mode: CudaLike | None = None
    recorder: Recorder | None = None
    said: set[str] = field(default_factory=set)
    _graphs: dict[Hashable, Call | None] = field(default_factory=dict)

    def wrap(self, block: torch.nn.Module, key: Hashable) -> None:
        """Compile a block's forward pass; equal blocks have equal keys."""
        _BLOCKS[block] = _described_block(self, key, block)
        block.forward = types.MethodType(_forward, block)

    def call(self, key: Hashable, function: Call, values: dict, args: tuple, kwargs: dict) -> Any:
        """``function(values, *args, **kwargs)``, compiled; ``values``: parameters and buffers by
        name."""
        leaves, spec = tree_flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        own, others = list(values.values()), [leaves[i] for i in places]
        if self.mode is None or not torch.is_grad_enabled() or not _trains(own + others):
            return function(values, *args, **kwargs)
        fixed = tuple(repr(leaf) for i, leaf in enumerate(leaves) if i not in places)
        described = tuple(_described(tensor) for tensor in (*own, *others))
        place = (key, str(spec), fixed, described, self.mode.autocasting)
        if place not in self._graphs:
            names = list(values)
            # what is kept for other calls holds no tensor of this one
            leaves = [None if i in places else leaf for i, leaf in enumerate(leaves)]

            def flat(own: list, others: list) -> Any:
                filled = list(leaves)
                for i, tensor in zip(places, others, strict=True):
                    filled[i] = tensor
                args, kwargs = tree_unflatten(filled, spec)
                return function(dict(zip(names, own, strict=True)), *args, **kwargs)

            self._graphs[place] = self._compiled(flat, own, others)
        graph = self._graphs[place]
        return function(values, *args, **kwargs) if graph is None else graph(own, others)

    def _compiled(self, flat: Call, own: list, others: list) -> Call | None:
        """Traced apart from the step that is recorded; None where that fails."""
        assert self.mode is not None
        found = aot_function(
            flat,
            fw_compiler=_kernels,
            bw_compiler=_kernels,
            partition_fn=partial(_partitioned, weights=len(own)),
            decompositions=select_decomp_table(),
        )
        try:
            # the innermost hooks alone run: none of the step's own sees what is saved here
            plain = saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
            with _disable_current_modes(), self.mode.apart(), plain, _unwritten():
                # apart from the graph of the step, which a backward pass would use up
                own, others = [_alone(t) for t in own], [_alone(t) for t in others]
                _try_backward(found(own, others), own + others)
        except Exception as error:  # the tracer fails in as many ways as models are written
            self.said.add(
                "a part of it is not compiled, as torch's tracer refuses it: "
                f"{str(error).strip().splitlines()[0][:120]}"
            )
            return None
        return found


@dataclass
class _Block:
    """``original``: its forward pass, without the recomputation that transformers' layers have in
    theirs."""

    regions: Regions
    key: Hashable
    original: Call
    recomputes: bool


#: Beside the modules: an attribute would tell equal blocks apart.
_BLOCKS: weakref.WeakKeyDictionary[torch.nn.Module, _Block] = weakref.WeakKeyDictionary()


def _described_block(regions: Regions, key: Hashable, block: torch.nn.Module) -> _Block:
    own = vars(block).get("forward")
    inner = getattr(type(block).forward, "__wrapped__", None)
    recomputes = hasattr(block, "gradient_checkpointing") and inner is not None
    if own is None and inner is not None and recomputes:
        return _Block(regions, key, types.MethodType(inner, block), recomputes=True)
    return _Block(regions, key, block.forward, recomputes=False)


def _forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    block = _BLOCKS[self]
    if block.recomputes and self.gradient_checkpointing and self.training:
        call = partial(_compiled_forward, self, block, **kwargs)
        return self._gradient_checkpointing_func(call, *args)
    return _compiled_forward(self, block, *args, **kwargs)


def _compiled_forward(self: torch.nn.Module, block: _Block, /, *args: Any, **kwargs: Any) -> Any:
    values = {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def function(values: dict, *args: Any, **kwargs: Any) -> Any:
        with _reparametrize_module(self, values):
            return block.original(*args, **kwargs)

    recorder = block.regions.recorder
    with contextlib.nullcontext() if recorder is None else recorder.inside(self):
        return block.regions.call(block.key, function, values, args, kwargs)


@contextlib.contextmanager
def _unwritten() -> Iterator[None]:
    """Graphs are read node by node: without the Python code that each change of one would write
    anew (inductor leaves it out as well), and the texts of them for torch's logs."""
    module: Any = torch.fx.GraphModule
    printed = module.print_readable
    module.print_readable = lambda *_, **__: ""
    try:
        with _use_lazy_graph_module(True):
            yield
    finally:
        module.print_readable = printed


def _partitioned(joint: Any, inputs: Any, *, weights: int, **options: Any) -> Any:
    """Parameters and buffers, which come first, stay where they are anyway and cost nothing to
    keep, as Dynamo tells the partitioner: what is made of them alone is made again rather than
    kept."""
    options["static_lifetime_input_indices"] = list(range(weights))
    return min_cut_rematerialization_partition(joint, inputs, **options)


def _kernels(gm: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Kernels:
    return Kernels(gm)


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _try_backward(made: Any, given: list[torch.Tensor]) -> None:
    """Raises where the tracer lost a gradient, of which torch only warns."""
    ends = [t for t in tree_flatten(made)[0] if isinstance(t, torch.Tensor) and t.requires_grad]
    begins = [tensor for tensor in given if tensor.requires_grad]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*autograd kernel was not registered.*")
        seeds = [torch.empty_like(end) for end in ends]
        torch.autograd.grad(ends, begins, seeds, allow_unused=True)


def _trains(tensors: list[torch.Tensor]) -> bool:
    return any(tensor.requires_grad for tensor in tensors)


def _described(tensor: torch.Tensor) -> tuple:
    return (tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.requires_grad)
