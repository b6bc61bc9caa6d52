"""What a measured step is fed with: the user's own samples, read and prepared as a loader does it,
or batches of the same shape.

``synthetic`` gives one batch for all steps; ``OwnData`` a new one each time, padded to its longest
sample.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from planner.datasets.constants import constant
from planner.datasets.loader.opening import open_source
from planner.datasets.loader.pipelines import pipeline
from planner.datasets.loader.sources import Texts
from planner.datasets.loader.spoken import as_trained
from planner.datasets.tokens import special_tokens
from planner.errors import DataError, MissingExtraError
from planner.models.tasks import modality_of
from planner.plan.inputs.problem import text_of

if TYPE_CHECKING:
    from planner.models.facts import ModelFacts
    from planner.question import Question

IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index


def synthetic(
    prepared: Any, point: dict[str, int | None], variant: str | None = None
) -> Callable[[], dict[str, Any]]:
    """The same batch each time, with values that the model takes: ``point`` is {"B": …, "S": …,
    "T": …}."""
    batch = prepared.batch(**point)
    if variant == "cached":  # recorded as empty tensors
        for value in batch.values():
            if hasattr(value, "is_floating_point") and value.is_floating_point():
                value.normal_()
    return lambda: batch


class OwnData:
    """``feed()`` → the next batch of the user's samples on the device. ``lengths``: the padded
    length of each batch so far, and ``target_lengths`` of an encoder-decoder's targets."""

    def __init__(
        self,
        prepared: Any,
        source: Any,
        stages: Any,
        device: str,
        *,
        micro_batch: int,
        max_length: int | None,
        padding: str,
        task: str,
    ):
        self.prepared, self.source, self.stages, self.device = prepared, source, stages, device
        self.micro_batch, self.max_length, self.padding, self.task = (
            micro_batch,
            max_length,
            padding,
            task,
        )
        self.order = itertools.cycle(range(len(source)))
        self.spare: list[int] = []  # tokens that a packed batch has left
        self.lengths: list[int] = []
        self.target_lengths: list[int] = []

    @property
    def varied(self) -> bool:
        """Whether one batch may be longer than another."""
        return self.source.modality == "text" and self.padding == "longest"

    def __call__(self) -> dict[str, Any]:
        return (self._tokens if self.source.modality == "text" else self._media)()

    # ---- media

    def _media(self) -> dict[str, Any]:
        """Images and sounds in the place of the synthetic batch's floating tensor. Raises DataError
        where the shapes differ."""
        import torch

        batch = dict(self.prepared.batch(B=self.micro_batch, S=None, T=None))
        name, like = next(
            (name, value)
            for name, value in batch.items()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
        )
        samples = torch.stack(
            [
                _cut(self._staged(self.source.read(next(self.order))), like.shape[1:])
                for _ in range(self.micro_batch)
            ]
        )
        layout = (
            torch.channels_last
            if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        batch[name] = samples.to(device=self.device, dtype=like.dtype, memory_format=layout)
        return batch

    def _staged(self, sample: Any) -> Any:
        for stage in self.stages:
            sample = stage.run(sample)
        return sample

    # ---- text

    def _tokens(self) -> dict[str, Any]:
        samples = [self._packed_or_sample() for _ in range(self.micro_batch)]
        inputs = [self._short(ids) for ids, _ in samples]
        targets = [self._short(ids) for _, ids in samples if ids is not None]
        length = (
            self.max_length
            if self.padding in ("max", "packed") and self.max_length
            else max(map(len, inputs))
        )
        target_length = max(map(len, targets)) if targets else None
        self.lengths.append(length)
        self.target_lengths += [target_length] if target_length else []
        batch = dict(self.prepared.batch(B=self.micro_batch, S=length, T=target_length))
        return self._filled(batch, inputs, targets, length, target_length)

    def _sample(self) -> tuple[list[int], list[int] | None]:
        """The ids of a sample and, of an encoder-decoder, of its target."""
        parts, kind = self.source.read(next(self.order)), self.source.layout.record_type
        if kind == "ids":
            return list(parts), list(parts) if self.task == "seq2seq_lm" else None
        tokenizer = self.stages[0].run.tokenizer
        each = [tokenizer.encode(text) for text in parts]
        if self.task == "seq2seq_lm":
            added = special_tokens("seq2seq")
            return _longer([*itertools.chain(*(each[:-1] or each))], added), _longer(
                each[-1], added
            )
        added = 0 if self.source.spoken else tokenizer.special_tokens(kind == "pair")
        return _longer([*itertools.chain(*each)], added), None

    def _packed_or_sample(self) -> tuple[list[int], list[int] | None]:
        if self.padding == "packed" and self.max_length:
            return self._packed(self.max_length), None
        return self._sample()

    def _packed(self, length: int) -> list[int]:
        while len(self.spare) < length:
            self.spare += self._sample()[0]
        ids, self.spare = self.spare[:length], self.spare[length:]
        return ids

    def _short(self, ids: list[int]) -> list[int]:
        return (ids[: self.max_length] if self.max_length else ids) or [0]

    def _filled(
        self,
        batch: dict[str, Any],
        inputs: list[list[int]],
        targets: list[list[int]],
        length: int,
        target_length: int | None,
    ) -> dict[str, Any]:
        """The synthetic batch of this shape with the samples' tokens, their mask where any is
        padded, and labels."""
        import torch

        vocabulary = int(batch["input_ids"].max()) + 1 if "input_ids" in batch else 0
        end = getattr(getattr(self.prepared.module, "config", None), "eos_token_id", None)
        if self.task == "text_classification" and isinstance(end, int):  # BART's head looks for it
            inputs = [[*(token for token in sample[:-1] if token != end), end] for sample in inputs]
        ids, mask = _padded(inputs, length)
        own = {"input_ids": self._known(ids, vocabulary)}
        if "attention_mask" in batch or not bool(mask.all()):
            own["attention_mask"] = mask
        if self.task == "causal_lm":
            own["labels"] = own["input_ids"].masked_fill(mask == 0, IGNORED)
        elif self.task == "masked_lm":
            own["labels"] = own["input_ids"].masked_fill(
                (mask == 0) | (torch.rand(mask.shape) >= constant("masked_share")), IGNORED
            )
        elif targets and target_length is not None:
            wanted, kept = _padded(targets, target_length)
            own["labels"] = self._known(wanted, vocabulary).masked_fill(kept == 0, IGNORED)
        return batch | {name: value.to(self.device) for name, value in own.items()}

    def _known(self, ids: Any, seen: int) -> Any:
        """Ids beyond the model's own table (a tokenizer of another model) would index past it."""
        size = getattr(getattr(self.prepared.module, "config", None), "vocab_size", None) or seen
        return ids.clamp(max=size - 1)

    def length(self) -> int | None:
        """The mean padded length of the batches so far."""
        return round(statistics.fmean(self.lengths)) if self.lengths else None

    def target_length(self) -> int | None:
        return round(statistics.fmean(self.target_lengths)) if self.target_lengths else None


def own_data(
    question: Question,
    facts: ModelFacts,
    prepared: Any,
    device: str,
    *,
    task: str,
    micro_batch: int,
    max_length: int | None,
    padding: str,
    image_size: int | None,
    point: dict[str, int | None],
) -> tuple[OwnData | None, str]:
    """(what feeds the user's own samples, what to say); (None, why) where they cannot be fed and
    the batches must be synthetic. Raises DataError for data that cannot be read."""
    if question.data is None:
        return None, "batches are synthetic: the question gives counts, no data"
    if facts.library == "factory":
        return None, "batches are the factory's own"
    if modality_of(task) in ("table", "series"):
        return None, "batches are synthetic: rows of a table are not fed to a real step yet"
    source = open_source(question.data, task=task, text_columns=question.text_columns)
    if isinstance(source, Texts) and source.layout.record_type != "ids" and facts.tokenizer is None:
        return (
            None,
            "batches are synthetic, of the data's mean padded length: the model comes without "
            "a tokenizer.json",
        )
    if source.modality == "text" and task not in (
        "causal_lm",
        "masked_lm",
        "seq2seq_lm",
        "text_classification",
    ):
        return (
            None,
            "batches are synthetic, of the data's mean padded length: text is not aligned "
            f"with labels for {task}",
        )
    try:
        if isinstance(source, Texts):
            source = as_trained(source, text_of(facts), task)
        stages = pipeline(
            source,
            task=task,
            tokenizer_path=facts.tokenizer,
            image_size=image_size or facts.image_size,
        ).stages
        made = OwnData(
            prepared,
            source,
            stages,
            device,
            micro_batch=micro_batch,
            max_length=max_length,
            padding=padding,
            task=task,
        )
        made()
    except (DataError, MissingExtraError) as error:
        return None, f"batches are synthetic: {error}"
    made.lengths.clear()
    made.target_lengths.clear()
    return (
        made,
        f"batches are the data's own: {len(source):,} of its samples, read and prepared in "
        "this process",
    )


def _longer(ids: list[int], added: int) -> list[int]:
    """With as many tokens more; which ones does not change what they cost."""
    return ids + (ids[-1:] or [0]) * added


def _padded(samples: list[list[int]], length: int) -> tuple[Any, Any]:
    """(ids, mask): int64 [samples, length], padded at the right."""
    import torch

    ids, mask = (
        torch.zeros((len(samples), length), dtype=torch.int64),
        torch.zeros((len(samples), length), dtype=torch.int64),
    )
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = torch.tensor(sample, dtype=torch.int64)
        mask[row, : len(sample)] = 1
    return ids, mask


def _cut(sample: Any, shape: tuple[int, ...]) -> Any:
    """A sound cut or padded to the length that the model is fed with. Raises DataError where the
    shapes have nothing in common."""
    import torch

    if tuple(sample.shape[:-1]) != tuple(shape[:-1]) or (
        len(shape) == 3 and tuple(sample.shape) != tuple(shape)
    ):
        raise DataError(
            f"a prepared sample is {json.dumps(list(sample.shape))}, the model takes "
            f"{json.dumps(list(shape))}"
        )
    return torch.nn.functional.pad(sample, (0, shape[-1] - sample.shape[-1]))
