"""What is answered when a model asks its data (``if mask.all():``), which meta tensors cannot say:
masks are full, nothing is infinite, and what counts values asks for values (``values.py``)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from planner.errors import ModelError
from planner.trace.recorder.on_data.known_masks import ScatterOfKnown, indices_of, taken
from planner.trace.recorder.on_data.values import Values, place_of_model

#: Marks on meta tensors: what a condition on the data is taken as, what a mask adds up to, and what
#: each element of a mask's sums is.
_ANSWER, _SUM, _EACH = "_planner_answer", "_planner_sum", "_planner_each"
#: Of a mask over tokens: it marks one of each sample, its end of text.
_ONE_A_ROW = "_planner_one_a_row"


class NeedsValuesError(ModelError):
    """The model's code asks for values of its data."""

    def __init__(self, what: str):
        place = place_of_model()
        super().__init__(
            f"its forward pass depends on the values of its input: {what}"
            + (f" ({place})" if place else ""),
            mend="Such a model cannot be traced without data",
        )


class DataQuestions:
    """The part of a function mode that answers. ``answers`` keeps what was said, for the
    assumptions; ``numbers``: what ``item()`` gives, None refuses; ``on_answer`` is told of each.
    ``values`` answers where there are any; ``strict``: without them nothing is answered."""

    answers: set[str]
    numbers: float | None
    rows: dict[int, int]
    on_answer: Callable[[], None]
    values: Values | None = None
    strict: bool = False

    def _valued(self, what: str, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a tensor that the model's code asks for, None where there are none."""
        known = self.values.of(tensor) if self.values is not None else None
        if known is not None and self.values is not None:
            self.values.note(what)
            self.on_answer()
        elif self.strict and self.numbers is None:
            raise NeedsValuesError(what)
        return known

    def _on_all(self, func, *args, **kwargs):
        return self._tag(func(*args, **kwargs), True)

    def _on__is_all_true(self, func, tensor):
        """Distributions ask it of their parameters, by an operation that meta does not have."""
        return self._tag(tensor.all(), True) if tensor.is_meta else func(tensor)

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
        known = self._valued("a condition", tensor)
        if known is not None:
            return bool(known)
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
        known = self._valued("Tensor.item", tensor)
        if known is not None:
            return known.item()
        raise NeedsValuesError("Tensor.item")

    def _on___float__(self, func, tensor):
        return float(self._on_item(torch.Tensor.item, tensor))

    def _on___int__(self, func, tensor):
        return int(self._on_item(torch.Tensor.item, tensor))

    def _on___index__(self, func, tensor):
        return self._on___int__(func, tensor)

    def _on___contains__(self, func, tensor, element):
        """Nothing is found without values: no token is padding."""
        if not tensor.is_meta:
            return func(tensor, element)
        known = self._valued("a condition", tensor)
        if known is not None:
            return element in known
        self.answers.add("a condition on the data was taken as False")
        self.on_answer()
        return False

    def _on_cpu(self, func, tensor, *args, **kwargs):
        """Without values the host waits; what it does with the copy is a stand-in's business."""
        if tensor.is_meta and self._valued("Tensor.cpu", tensor) is None:
            self.on_answer()
            return tensor
        return self._on_host("Tensor.cpu", func, tensor, *args, **kwargs)

    def _on_to(self, func, tensor, *args, **kwargs):
        wanted = kwargs.get("device", args[0] if args else None)
        if isinstance(wanted, (str, torch.device)) and torch.device(wanted).type == "cpu":
            return self._on_host("Tensor.to", func, tensor, *args, **kwargs)
        return func(tensor, *args, **kwargs)

    def _on_numpy(self, func, tensor, *args, **kwargs):
        return self._on_host("Tensor.numpy", func, tensor, *args, **kwargs)

    def _on_host(self, what: str, func, tensor, *args, **kwargs):
        """What is copied to the host has its values from then on."""
        if not tensor.is_meta:
            return func(tensor, *args, **kwargs)
        known = self._valued(what, tensor)
        if known is None:
            return func(tensor, *args, **kwargs)
        return func(known.clone(), *args, **kwargs)

    def _on_tensor(self, func, data, *args, **kwargs):
        """Numbers that go to the device: their values are known."""
        device = kwargs.get("device")
        if self.values is None or device is None or torch.device(device).type != "meta":
            return func(data, *args, **kwargs)
        return func(data, *args, **kwargs | {"device": "cpu"}).to("meta")

    def _on_as_tensor(self, func, data, *args, **kwargs):
        return self._on_tensor(func, data, *args, **kwargs)

    def _on_eq(self, func, left, right, **kwargs):
        """Ids compared with a special one: it stands once in every sample."""
        answer = func(left, right, **kwargs)
        if isinstance(right, int) and answer.is_meta and answer.dim() == 2:
            setattr(answer, _ONE_A_ROW, not left.is_floating_point())
        return answer

    def _on_unique_consecutive(self, func, tensor, *args, **kwargs):
        """How many ends of text a sample has (the heads of BART and T5): one in every sample."""
        if not tensor.is_meta:
            return func(tensor, *args, **kwargs)
        self.on_answer()  # the host waits for the number of them
        return tensor.new_empty(1)

    def _on___getitem__(self, func, tensor, index):
        """A boolean index is what ``nonzero`` finds, which the host waits for: without values one
        token of each sample, where a mask marks its end of text (the heads of BART and T5), else
        all rows, since masks are full."""
        parts = index if isinstance(index, tuple) else (index,)
        if self.values is None and parts and getattr(parts[0], _ONE_A_ROW, False):
            self.on_answer()
            samples = torch.arange(parts[0].shape[0], device=parts[0].device)
            return func(tensor, (samples, samples))
        if self.values is None and not self.strict and _is_bool(index):
            mask = parts[0]
            return taken(tensor, mask, mask.numel(), self.on_answer)
        if self.values is None or not any(map(_is_mask, parts)):
            return func(tensor, index)
        found: list = []
        for part in parts:
            found += part.nonzero().unbind(1) if _is_mask(part) else [part]
        return func(tensor, tuple(found))

    def _on___setitem__(self, func, tensor, index, value):
        """Rows that a mask takes are written by the indices of as many as there are values: what
        meta makes of the mask itself has no backward pass. One number fills in one kernel."""
        plain = self.values is None and not self.strict and _is_bool(index)
        if not plain or not isinstance(value, torch.Tensor) or value.numel() == 1:
            return func(tensor, index, value)
        rows = value.dim() == tensor.dim() - index.dim() + 1
        count = value.shape[0] if rows and value.shape[0] > 1 else index.numel()
        return func(tensor, indices_of(index, count, self.on_answer), value)

    def _on_masked_select(self, func, tensor, mask, **kwargs):
        """Everything: masks are full."""
        if not tensor.is_meta or self.values is not None:
            return func(tensor, mask, **kwargs)
        return tensor.expand(torch.broadcast_shapes(tensor.shape, mask.shape)).reshape(-1)

    def _on_masked_scatter(self, func, tensor, mask, source):
        """The mask takes all of the source, as the models check themselves."""
        if not tensor.is_meta or self.values is not None:
            return func(tensor, mask, source)
        return ScatterOfKnown.apply(tensor, mask, source, self.on_answer)

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

    def _on_counted_as(self, _func, tensor, rows):
        """How many places ``nonzero`` finds an image, by the dimensions of a mask."""
        self.rows = rows or {}
        return tensor

    def _on_nonzero(self, func, *args, **kwargs):
        tensor = args[0] if args else kwargs.get("input")
        if not isinstance(tensor, torch.Tensor) or not tensor.is_meta:
            return func(*args, **kwargs)
        rows = self.rows.get(tensor.dim())
        if rows is not None and kwargs.get("as_tuple"):
            found = torch.ops.planner.nonzero(tensor, len(tensor) * rows)
            self.on_answer()
            return (found,) * tensor.dim()
        if self.values is not None:
            return func(*args, **kwargs)
        raise NeedsValuesError("Tensor.nonzero")

    def _on_tolist(self, func, tensor):
        if not tensor.is_meta:
            return func(tensor)
        each = getattr(tensor, _EACH, None)
        if each is not None and tensor.dim() == 1 and self.values is None and not self.strict:
            self.on_answer()
            return [each] * tensor.shape[0]
        known = self._valued("Tensor.tolist", tensor)
        if known is None:
            raise NeedsValuesError("Tensor.tolist")
        return known.tolist()


def _is_mask(index) -> bool:
    return (
        isinstance(index, torch.Tensor)
        and index.is_meta
        and index.dtype in (torch.bool, torch.uint8)
        and index.dim() > 0
    )


def _is_bool(index) -> bool:
    return isinstance(index, torch.Tensor) and index.is_meta and index.dtype == torch.bool
