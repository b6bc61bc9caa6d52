"""Which of the nested operations of a profile is the one that traces hold, and of which kind.

A profile holds every call of torch's dispatcher: ``aten::linear``, inside it ``aten::addmm``. A
trace holds what is left below autograd, when torch has taken apart what is only made of others. So
the outermost operation counts that the planner knows and that torch does not take apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from planner.operations.registry import UNMODELLED, kind_named, kind_of

#: Operations that torch takes apart before a trace sees them (kernels registered for
#: ``CompositeImplicitAutograd``), of those that a kind lists.
TAKEN_APART = frozenset(
    "matmul linear conv1d conv2d conv3d _convolution rms_norm kl_div isfinite mish_backward prelu "
    "relu6 selu square __and__ __or__ argsort contiguous resolve_conj take_along_dim one_hot "
    "dropout reshape chunk narrow view_as set_data movedim real imag expand_as sym_size "
    "_has_compatible_shallow_copy_type result_type size stride storage_offset item "
    "is_nonzero".split()
)
#: Attention is one operation in traces, whichever kernel computes it. Without a fused kernel
#: (``_math``) it is its products.
ATTENTION = (
    "_scaled_dot_product",
    "_flash_attention",
    "_efficient_attention",
    "_cudnn_attention",
)
NOT_FUSED = "_math"
#: Other libraries' names of what a trace calls otherwise.
SAME_AS = {
    "cudnn_batch_norm": "native_batch_norm",
    "miopen_batch_norm": "native_batch_norm",
    "cudnn_batch_norm_backward": "native_batch_norm_backward",
    "miopen_batch_norm_backward": "native_batch_norm_backward",
    "_fused_rms_norm": "rms_norm",
    "_fused_rms_norm_backward": "rms_norm_backward",
    "cudnn_convolution": "convolution",
    "miopen_convolution": "convolution",
    "mkldnn_convolution": "convolution",
}
_OF_PLANNER = ("rms_norm", "rms_norm_backward")
COMMUNICATION = "communication"
#: Kernels of collectives, and of what a compiler made.
_COLLECTIVES, _COMPILED = ("nccl", "rccl", "msccl", "oneccl", "c10d::", "symm_mem::"), "triton_"
BACKWARD, UPDATE = (
    "autograd::engine::evaluate_function",
    ("Optimizer.step#", "Optimizer.zero_grad#"),
)


def is_operation(name: str) -> bool:
    """Whether a name is of torch's dispatcher, and not of autograd's own nodes or of an
    annotation."""
    space, colons, _ = name.partition("::")
    return bool(colons) and space not in ("autograd", "torch") or name.startswith(_COMPILED)


def base_name(name: str) -> str:
    """As a trace's operation without overload: ``aten::addmm`` → ``aten.addmm``; every fused
    attention is ``planner.attention``."""
    space, _, rest = name.partition("::")
    if space == "aten" and rest.startswith(ATTENTION) and NOT_FUSED not in rest:
        return f"planner.attention{'_backward' if rest.endswith('_backward') else ''}"
    rest = SAME_AS.get(rest, rest)
    return f"{'planner' if rest in _OF_PLANNER else space}.{rest}"


def kind_of_name(name: str) -> str:
    """A kind of the planner; ``unmodelled`` for what it does not know."""
    if name.startswith(_COMPILED):
        return "fused"
    if name.startswith(_COLLECTIVES):
        return COMMUNICATION
    return kind_of(base_name(name)).name


def is_whole(name: str) -> bool:
    """Whether an operation counts with all that it calls: the planner knows it, it runs a kernel
    or waits, and torch does not take it apart."""
    return name.partition("::")[2] not in TAKEN_APART and _is_known(name)


def _is_known(name: str) -> bool:
    if not is_operation(name):
        return False
    kind = kind_of_name(name)
    return kind == COMMUNICATION or kind != UNMODELLED and works(kind)


def works(kind: str) -> bool:
    """Whether a kind's operations take a device's time."""
    return kind == COMMUNICATION or kind_named(kind).runs_kernel


def unit_of(names: Sequence[str]) -> int | None:
    """Which of nested operations, the outermost first, is the one that counts: the outermost that
    is whole, else the innermost that is known, else the innermost of all. None where none is an
    operation."""
    whole = next((i for i, name in enumerate(names) if is_whole(name)), None)
    if whole is not None:
        return whole
    known = [i for i, name in enumerate(names) if _is_known(name)]
    named = known or [i for i, name in enumerate(names) if is_operation(name)]
    return named[-1] if named else None


def phase_of(names: Sequence[str]) -> str:
    """Of nested names: forward, backward (in autograd's engine) or optimizer."""
    for name in names:
        if name.startswith(UPDATE):
            return "optimizer"
        if name.startswith(BACKWARD):
            return "backward"
    return "forward"


def is_communication(kernel: str) -> bool:
    return kernel.lower().startswith(_COLLECTIVES)
