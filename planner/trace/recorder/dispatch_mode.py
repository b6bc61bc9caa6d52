"""Record one training step on the meta device at one (B, S): every operation, every storage's birth
and death.

A dispatch mode sees each ATen operation below autograd, in the order a device would run it; a weak
reference on each storage tells when it dies. Attribution to modules: forward hooks hold the stack
of modules; an operation of the backward pass belongs to the module whose forward operation made its
autograd node (equal sequence numbers).
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Mapping

import torch
from torch._C import _autograd
from torch.utils._python_dispatch import TorchDispatchMode

from planner.trace.raw import RawTrace
from planner.trace.recorder.cuda_ops import scratch
from planner.trace.recorder.kernels.lists_on_meta import answered
from planner.trace.recorder.kernels.remembered import REMEMBERED
from planner.trace.table import CATEGORIES, PHASES

_PHASE = {name: index for index, name in enumerate(PHASES)}
_DTYPE = {
    value: str(value).removeprefix("torch.")
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}
_SYNC = "aten._local_scalar_dense.default"


class Recorder(TorchDispatchMode):
    """Use as ``with recorder:`` around the step, setting ``recorder.phase``. Only meta tensors are
    recorded."""

    def __init__(self, module: torch.nn.Module, names: Mapping[int, str] | None = None):
        """``names`` of all modules by their ids, where the module's own are not all."""
        super().__init__()
        self.raw = RawTrace()
        self.phase = "forward"
        self._index: dict = {}  # raw signature -> its number
        self._alive: dict[int, int] = {}  # storage address -> number in raw.storages
        self._refs: dict[int, weakref.ref] = {}
        self._names = names or {id(m): name for name, m in module.named_modules()}
        self._module_index: dict[str, int] = {}
        self._stack: list[int] = [self._module("")]
        self._of_sequence: dict[int, int] = {}
        self._next_sequence = 0
        self._hooks: list = []
        self._owner: int | None = None

    # ---- modules

    @contextlib.contextmanager
    def within(self, module: str):
        """What is dispatched belongs to this module, in the phase that is."""
        self._owner = self._module(module)
        try:
            yield
        finally:
            self._owner = None

    def _module(self, name: str) -> int:
        if name not in self._module_index:
            self._module_index[name] = len(self.raw.modules)
            self.raw.modules.append(name)
        return self._module_index[name]

    @contextlib.contextmanager
    def inside(self, module: torch.nn.Module):
        """What is dispatched belongs to this module, as in a call of it that is counted already."""
        name = self._names.get(id(module))
        self._stack.append(self._module(name) if name is not None else self._stack[-1])
        try:
            yield
        finally:
            self._stack.pop()

    def _enter_module(self, module, _args):
        name = self._names.get(id(module))
        self._stack.append(self._module(name) if name is not None else self._stack[-1])
        called = self.raw.modules[self._stack[-1]]
        self.raw.calls[called] = self.raw.calls.get(called, 0) + 1

    def _leave_module(self, _module, _args, _out):
        if len(self._stack) > 1:
            self._stack.pop()

    def __enter__(self):
        hooks = torch.nn.modules.module
        self._hooks = [
            hooks.register_module_forward_pre_hook(self._enter_module),
            hooks.register_module_forward_hook(self._leave_module, always_call=True),
        ]
        return super().__enter__()

    def __exit__(self, *error):
        for hook in self._hooks:
            hook.remove()
        return super().__exit__(*error)

    @property
    def recomputing(self) -> bool:
        """True inside a forward that gradient checkpointing runs again during the backward pass."""
        return self.phase == "backward" and len(self._stack) > 1

    def _where(self) -> tuple[int, int]:
        """(phase, module) of the operation that is being dispatched."""
        if self._owner is not None:
            return _PHASE[self.phase], self._owner
        if self.phase == "backward" and len(self._stack) == 1:
            node = torch._C._current_autograd_node()
            module = self._of_sequence.get(node._sequence_nr(), 0) if node is not None else 0
            return _PHASE["backward"], module
        module = self._stack[-1]
        number = _autograd._get_sequence_nr()
        # Nodes made since the last operation belong to this one's module: composite operations make
        # several.
        for sequence in range(max(self._next_sequence, number - 64), number + 1):
            self._of_sequence[sequence] = module
        self._next_sequence = number + 1
        return _PHASE["recompute" if self.recomputing else self.phase], module

    # ---- operations

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        phase, module = self._where()
        # what CUDA would do was settled above: no mode of Python's functions is asked again
        with torch._C.DisableTorchFunction():
            out = _run(func, args, kwargs)
            inputs, outputs = _operands(args), _operands((out,))
            inputs += _operands(kwargs.values()) if kwargs else []
            if inputs or outputs:
                attributes = _attributes(func, args, kwargs)
                self._add(str(func), inputs, outputs, attributes, phase, module)
        return out

    def synchronise(self) -> None:
        """The host waited for the device here (a condition on data)."""
        phase, module = self._where()
        self._operation((_SYNC, (), (), ()), phase, module)

    def _add(self, name, inputs, outputs, attributes, phase, module):
        raw_in, raw_out = tuple(_raw(t) for t in inputs), tuple(_raw(t) for t in outputs)
        number = self._operation(
            (name, _grouped(raw_in), _grouped(raw_out), attributes), phase, module
        )
        for tensor in outputs:
            self._born(tensor, number, module)
        for shape, itemsize in scratch(name, inputs):
            self.raw.storages.append([tuple(shape), itemsize, number, number, None, module])

    def _operation(self, signature, phase, module) -> int:
        index = self._index.get(signature)
        if index is None:
            index = self._index[signature] = len(self.raw.signatures)
            self.raw.signatures.append(signature)
        self.raw.operations.append((index, phase, module))
        return len(self.raw.operations) - 1

    # ---- storages

    def _born(self, tensor: torch.Tensor, operation: int, module: int) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._alive:
            return
        number = len(self.raw.storages)
        itemsize = tensor.element_size()
        shape = tuple(tensor.shape)
        if tensor.numel() * itemsize != storage.nbytes():  # a view of something larger was returned
            shape, itemsize = (storage.nbytes(),), 1
        self.raw.storages.append([shape, itemsize, operation, None, None, module])
        self._alive[address] = number
        self._refs[address] = weakref.ref(storage, lambda _ref, a=address: self._died(a))

    def _died(self, address: int) -> None:
        number = self._alive.pop(address, None)
        self._refs.pop(address, None)
        if number is not None:
            self.raw.storages[number][3] = len(self.raw.operations) - 1

    def mark(
        self,
        tensors: Iterable[torch.Tensor],
        category: str,
        names: Callable[[int], str] | None = None,
    ) -> None:
        """Declare what storages are; those not seen yet were there before the step."""
        index = CATEGORIES.index(category)
        for position, tensor in enumerate(tensors):
            if tensor is None or not tensor.is_meta:
                continue
            if tensor.untyped_storage()._cdata not in self._alive:
                module = self._module(names(position)) if names else 0
                self._born(tensor, -1, module)
            self.raw.storages[self._alive[tensor.untyped_storage()._cdata]][4] = index

    def forward_ends(self) -> None:
        """What is alive now and not declared otherwise is an activation."""
        activations = CATEGORIES.index("activations")
        for number in self._alive.values():
            if self.raw.storages[number][4] is None:
                self.raw.storages[number][4] = activations

    def finish(self) -> RawTrace:
        end, temporary = len(self.raw.operations), CATEGORIES.index("temporary")
        self._refs.clear()
        for storage in self.raw.storages:
            storage[3] = end if storage[3] is None else storage[3]
            storage[4] = temporary if storage[4] is None else storage[4]
        return self.raw


def _run(func, args, kwargs):
    if func.namespace == "aten":
        done, out = answered(func, args)
        if done:
            return out
    return _laid_out_as_on_cuda(func, args, REMEMBERED.run(func, args, kwargs))


def _laid_out_as_on_cuda(func, args, out):
    """cuDNN answers channels-last where the image or the weight is so
    (``cudnn_conv_suggest_memory_format``); meta always answers contiguous, and copies would be
    recorded that CUDA does not make."""
    if func is torch.ops.aten.convolution.default and _channels_last(args[0], args[1]):
        return _in_channels_last(out)
    if func is torch.ops.aten.convolution_backward.default and _channels_last(args[1], args[2]):
        return tuple(_in_channels_last(t) for t in out)
    return out


def _channels_last(*tensors: torch.Tensor) -> bool:
    return any(
        t.dim() == 4
        and t.is_contiguous(memory_format=torch.channels_last)
        and not t.is_contiguous()
        for t in tensors
    )


def _in_channels_last(tensor):
    if tensor is None or not tensor.is_meta or tensor.dim() != 4:
        return tensor
    return torch.empty_like(tensor, memory_format=torch.channels_last)


def _operands(values) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            if value.is_meta:
                found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _operands(value)
    return found


def _raw(tensor: torch.Tensor) -> tuple:
    """(shape, dtype, layout, expanded): what the cost of reading or writing it depends on."""
    shape, stride = tuple(tensor.shape), tensor.stride()
    expanded = tuple(i for i, (n, s) in enumerate(zip(shape, stride)) if s == 0 and n > 1)
    if tensor.is_contiguous():
        layout = "c"
    elif len(shape) >= 2 and tensor.transpose(-1, -2).is_contiguous():
        layout = "t"
    elif len(shape) == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        layout = "cl"
    else:
        layout = "s"
    return shape, _DTYPE[tensor.dtype], layout, expanded


def _grouped(raw: tuple) -> tuple:
    """Equal neighbours and, in the long lists of optimizer operations, equal tensors anywhere,
    counted once."""
    if len(raw) <= 8:
        return tuple((*operand, 1) for operand in raw)
    counts: dict[tuple, int] = {}
    for operand in raw:
        counts[operand] = counts.get(operand, 0) + 1
    return tuple((*operand, count) for operand, count in counts.items())


_VIEWS = frozenset(
    "view _unsafe_view reshape expand slice select permute transpose t unsqueeze squeeze alias "
    "detach split split_with_sizes "
    "chunk unbind narrow as_strided view_as diagonal unfold".split()
)


def _attributes(func, args, kwargs) -> tuple:
    """Plain arguments by name: strides, dims, flags. Views need none, their operands say all."""
    name = func._schema.name.partition("::")[2]
    if name in _VIEWS:
        return ()
    out = []
    for argument, value in zip(func._schema.arguments, args):
        plain = _plain(value)
        if plain is not None:
            out.append((argument.name, plain))
    out += [
        (key, plain)
        for key, value in kwargs.items()
        if key not in ("device", "layout", "pin_memory") and (plain := _plain(value)) is not None
    ]
    return tuple(sorted(out))


def _plain(value):
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, torch.dtype):
        return _DTYPE[value]
    if (
        isinstance(value, (list, tuple))
        and value
        and all(isinstance(v, (bool, int, float)) for v in value)
    ):
        return tuple(value)
    return None


@contextlib.contextmanager
def quiet():
    """No advisory output of the libraries while a step is recorded."""
    import logging
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(previous)
