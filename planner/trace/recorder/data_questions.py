"""What is answered when a model asks its data (``if mask.all():``), which meta tensors cannot say:
masks are full, nothing is infinite, and what counts values is refused."""

from __future__ import annotations

from collections.abc import Callable

import torch

from planner.errors import ModelError
from planner.trace.recorder.stand_ins.known_masks import ScatterOfKnown, taken

#: Marks on meta tensors: what a condition on the data is taken as, what a mask adds up to, and what
#: each element of a mask's sums is.
_ANSWER, _SUM, _EACH = "_planner_answer", "_planner_sum", "_planner_each"


class DataQuestions:
    """The part of a function mode that answers. ``answers`` keeps what was said, for the
    assumptions; ``numbers``: what ``item()`` gives, None refuses; ``on_answer`` is told of each."""

    answers: set[str]
    numbers: float | None
    on_answer: Callable[[], None]

    def _on_all(self, func, *args, **kwargs):
        return self._tag(func(*args, **kwargs), True)

    _on__is_all_true = _on_all  # of torch's own checks

    def _on_any(self, func, *args, **kwargs):
        return self._tag(func(*args, **kwargs), False)

    def _on_sum(self, func, *args, **kwargs):
        """The sum of a mask is its size: masks are full."""
        total, whole = func(*args, **kwargs), args[0] if args else None
        if (
            isinstance(whole, torch.Tensor)
            and whole.is_meta
            and whole.dtype == torch.bool
            and total.dim() == 0
        ):
            setattr(total, _SUM, whole.numel())
        elif isinstance(whole, torch.Tensor) and whole.is_meta and whole.dtype == torch.bool:
            setattr(total, _EACH, whole.numel() // max(1, total.numel()))
        return total

    def _on___eq__(self, func, left, right):
        answer = func(left, right)
        full = getattr(left, _SUM, None)
        return (
            answer
            if full is None or not isinstance(right, int)
            else self._tag(answer, full == right)
        )

    def _tag(self, tensor, answer: bool):
        if isinstance(tensor, torch.Tensor) and tensor.is_meta:
            setattr(tensor, _ANSWER, answer)
        return tensor

    def _on___bool__(self, func, tensor):
        if not tensor.is_meta:
            return func(tensor)
        answer = getattr(tensor, _ANSWER, False)
        self.answers.add(f"a condition on the data was taken as {answer}")
        self.on_answer()
        return answer

    def _on_item(self, func, tensor):
        if not tensor.is_meta:
            return func(tensor)
        if tensor.dtype == torch.bool:
            return self._on___bool__(func, tensor)
        if self.numbers is not None:
            self.on_answer()
            return self.numbers
        raise ModelError(
            "the model's forward pass depends on the values of its input (Tensor.item)",
            mend="Such a model cannot be traced without data",
        )

    def _on_masked_select(self, func, tensor, mask, **kwargs):
        """Everything: masks are full."""
        if not tensor.is_meta:
            return func(tensor, mask, **kwargs)
        return tensor.expand(torch.broadcast_shapes(tensor.shape, mask.shape)).reshape(-1)

    def _on_masked_scatter(self, func, tensor, mask, source):
        """The mask takes all of the source, as the models check themselves."""
        if not tensor.is_meta:
            return func(tensor, mask, source)
        return ScatterOfKnown.apply(tensor, mask, source, self.on_answer)

    def _on___getitem__(self, func, tensor, key):
        """Rows that a mask takes: all of them, since masks are full."""
        if not (isinstance(key, torch.Tensor) and key.dtype == torch.bool and key.is_meta):
            return func(tensor, key)
        return taken(tensor, key, key.numel(), self.on_answer)

    def _on_ctc_loss(
        self, func, log_probs, targets, input_lengths, target_lengths, blank=0, **options
    ):
        """torch.nn.functional's: the lengths would be read back."""
        if not log_probs.is_meta:
            return func(log_probs, targets, input_lengths, target_lengths, blank, **options)
        infinite = bool(options.get("zero_infinity", False))
        losses = torch.ops.aten._ctc_loss.Tensor(
            log_probs, targets, input_lengths, target_lengths, blank, infinite
        )[0]
        self.on_answer()  # the lengths are read back by the host
        return losses if options.get("reduction") == "none" else losses.sum()

    def _on_positions(self, func, mask, rows):
        """A stated number of places (``models/building/detection``): the host waits to learn how
        many."""
        found = func(mask, rows)
        if mask.is_meta:
            self.on_answer()
        return found

    def _on_taken_as(self, _func, tensor, number):
        """What a stated number of objects adds up to, which losses read back."""
        self.numbers = number
        return tensor

    def _on_cpu(self, func, tensor, *args, **kwargs):
        """The host waits; what it does with the copy is a stand-in's business."""
        if not tensor.is_meta:
            return func(tensor, *args, **kwargs)
        self.on_answer()
        return tensor

    def _on_nonzero(self, func, *args, **kwargs):
        return self._count_of_data(func, *args, **kwargs)

    def _on_tolist(self, func, *args, **kwargs):
        each = getattr(args[0], _EACH, None) if args else None
        if each is not None and args[0].dim() == 1:
            self.on_answer()
            return [each] * args[0].shape[0]
        return self._count_of_data(func, *args, **kwargs)

    def _count_of_data(self, func, *args, **kwargs):
        tensor = args[0] if args else kwargs.get("input")
        if not isinstance(tensor, torch.Tensor) or not tensor.is_meta:
            return func(*args, **kwargs)
        raise ModelError(
            "the model's forward pass counts values of its input (a loop over the experts that "
            "were hit, say)",
            mend="Such a model cannot be traced without data",
        )
