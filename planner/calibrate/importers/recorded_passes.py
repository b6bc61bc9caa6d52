"""A convolution's backward pass as the two that it is made of: the gradient of the image, and that
of the weight. Both compute as much; how much of the time each took is told by the names of the
kernels, where they tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.operations.cases import Case
from planner.trace.table import Operand

_BACKWARD, _MASK = "aten.convolution_backward.", "output_mask"
#: Parts of the names of kernels of either gradient (cuDNN, whose library for training holds the
#: weight's and that for inference the image's; CUTLASS, MIOpen, composable kernel).
_WEIGHT = ("wgrad", "wrw", "bwd_weight", "bwdweight", "backward_weight", "cudnn_train")
_IMAGE = ("dgrad", "bwd_data", "bwddata", "backward_data", "cudnn_infer", "igemm_bwd")
EVEN = 0.5


def passes_of(case: Case) -> list[Case]:
    """The gradient of the image and that of the weight, of a case that computes both; none of any
    other."""
    mask = case.signature.attr(_MASK)
    if not case.signature.op.startswith(_BACKWARD) or not mask or not (mask[0] and mask[1]):
        return []
    outputs = case.signature.outputs
    return [
        _one(case, outputs[number : number + 1], (number == 0, number == 1, False))
        for number in range(2)
    ]


def _one(case: Case, outputs: tuple[Operand, ...], mask: tuple[bool, ...]) -> Case:
    attrs = tuple((k, mask if k == _MASK else value) for k, value in case.signature.attrs)
    return replace(case, signature=replace(case.signature, outputs=outputs, attrs=attrs))


def share_of_input(kernels: Sequence[str], seconds: Sequence[float]) -> float:
    """What the gradient of the image took of both: kernels that name neither count for each as the
    named ones do; where none is named, half."""
    image = _named(kernels, seconds, _IMAGE)
    weight = _named(kernels, seconds, _WEIGHT)
    rest = sum(seconds) - image - weight
    if image and weight:
        return image / (image + weight)
    if not image and not weight or not rest:
        return EVEN
    return rest / sum(seconds) if weight else image / sum(seconds)


def _named(kernels: Sequence[str], seconds: Sequence[float], marks: tuple[str, ...]) -> float:
    return sum(s for k, s in zip(kernels, seconds) if any(mark in k.lower() for mark in marks))
