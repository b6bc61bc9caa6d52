"""TrainingTask: how a transformers model of a task is built, fed and judged. No torch until a batch
is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from planner.models.constants import constant
from planner.registry import declared

if TYPE_CHECKING:
    import torch

    Batch = Mapping[str, Any]
    Logits = Callable[[torch.nn.Module, Batch], torch.Tensor]

#: Modules of the library's classes that fine-tuning starts from scratch: the head. Language models
#: have their output embedding instead.
HEAD_MODULES = {
    "classifier",
    "pre_classifier",
    "score",
    "pooler",
    "head",
    "projector",
    "classification_head",
    "visual_projection",
    "text_projection",
    "logit_scale",
    "logit_bias",
    "qa_outputs",
    "logits_proj",
    "sequence_summary",
}


@dataclass(frozen=True)
class Feed:
    """What a batch is made from: the module and its config, the weights' dtype, the length of a
    waveform in samples where the question states one, the model's name for refusals, the hard
    negatives beside a query, the pictures of a sample, (width, height) of images where they are not
    the family's, the objects of each. Its tensors are on meta."""

    module: Any
    config: Any
    dtype: torch.dtype
    audio_samples: int | None
    name: str
    negatives: int = 0
    images: int = 1
    largest: tuple[int, int] | None = None
    objects: int = int(constant("objects_per_image"))

    def ids(self, *shape: int | None) -> torch.Tensor:
        """int64 [*shape]: tokens or labels."""
        import torch

        return torch.empty(cast("tuple[int, ...]", shape), dtype=torch.int64, device="meta")

    def values(self, *shape: int) -> torch.Tensor:
        """[*shape] in the weights' dtype: pixels, sound, targets."""
        import torch

        return torch.empty(shape, dtype=self.dtype, device="meta")

    def mask(self, *shape: int | None) -> torch.Tensor:
        """int64 ones [*shape]: nothing is padded."""
        import torch

        return torch.ones(cast("tuple[int, ...]", shape), dtype=torch.int64, device="meta")


def config_parts(config: Any) -> Iterator[Any]:
    """A config of transformers, then the configs that it holds, outermost first."""
    yield config
    for value in vars(config).values():
        if hasattr(value, "to_diff_dict"):
            yield from config_parts(value)


def own_loss(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """The loss that the library's class computes itself from the labels."""
    return module(**batch).loss


def without(*names: str, output: str = "logits") -> Logits:
    """A forward pass without the named inputs, and the output of that name."""

    def logits(module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        given = {key: value for key, value in batch.items() if key not in names}
        return getattr(module(**given), output)

    return logits


def children_of_head(module: Any) -> tuple[str, ...]:
    """Prefixes of the modules that the base checkpoint does not have (BERT's pooler is inside its
    base model and pretrained with it)."""
    children = [name for name, _ in module.named_children()] + [
        name for name, _ in module.named_parameters(recurse=False)
    ]
    return tuple(name for name in children if name in HEAD_MODULES)


def output_embedding(module: Any) -> tuple[str, ...]:
    """The prefix of a language model's output embedding, nothing where there is none."""
    names = {id(part): name for name, part in module.named_modules()}
    output = module.get_output_embeddings()
    return (names[id(output)],) if output is not None else ()


def nothing_adapted(_config: Any, _classes: int | None) -> None:
    """The config is taken as it is."""


def nothing_frozen(_module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """A full fine-tuning trains every parameter."""
    return frozenset(), ()


def nothing_stands_in(_module: Any) -> tuple[str, ...]:
    """The module runs on meta as it is."""
    return ()


def nothing_beside(_module: Any) -> frozenset[str]:
    """Adapters alone train."""
    return frozenset()


def nothing_to_check(_feed: Feed) -> None:
    """Every config can be fed."""


def nothing_to_say(_feed: Feed) -> tuple[str, ...]:
    """What the task feeds follows from its name."""
    return ()


@dataclass(frozen=True)
class TrainingTask:
    """One task. ``auto_classes``: the library's classes for it, the first that has the model's
    type. ``batch(feed, B, S, T)`` → the keyword arguments of the module's forward pass, ``symbols``
    the sizes it depends on. ``loss`` and ``logits`` of (module, batch), ``soft_loss`` of a
    student's and a teacher's logits where those are no logarithms of chances. ``head(module)`` →
    prefixes of the parameters that feature extraction trains. ``adapt(config, classes)`` prepares a
    config. ``frozen(module, config)`` → (names of parameters that a full fine-tuning leaves alone,
    what is said of it). ``check(feed)`` raises ModelError for what cannot be fed.
    ``fed(feed)`` → what is said of what it is fed with.
    ``on_meta(module)`` gives parts of it a forward pass without data → what is assumed.
    ``beside_adapters(module)`` → parameters that train with adapters; ``frozen_takes_no_adapters``:
    what is frozen gets none unless its layers are named. ``variant(config)`` → the task that a
    config really trains, where families differ.
    ``wrap(module, config)`` → the module that is trained, around the library's.
    ``after_update(module)`` → what runs after every update of the weights.
    ``own_classes``: by model type, classes of the library that no auto class finds."""

    name: str
    auto_classes: tuple[str, ...]
    batch: Callable[[Feed, int, int | None, int | None], dict[str, Any]]
    symbols: tuple[str, ...] = ("B", "S")
    logits: Logits = without("labels")
    loss: Callable[[Any, Batch], Any] = own_loss
    soft_loss: Callable[[Any, Any], Any] | None = None
    head: Callable[[Any], tuple[str, ...]] = children_of_head
    adapt: Callable[[Any, int | None], None] = nothing_adapted
    frozen: Callable[[Any, Any], tuple[frozenset[str], tuple[str, ...]]] = nothing_frozen
    check: Callable[[Feed], None] = nothing_to_check
    fed: Callable[[Feed], tuple[str, ...]] = nothing_to_say
    on_meta: Callable[[Any], tuple[str, ...]] = nothing_stands_in
    beside_adapters: Callable[[Any], frozenset[str]] = nothing_beside
    frozen_takes_no_adapters: bool = False
    variant: Callable[[Any], TrainingTask | None] | None = None
    wrap: Callable[[Any, Any], Any] | None = None
    after_update: Callable[[Any], Callable[[], None]] | None = None
    own_classes: Mapping[str, str] = field(default_factory=dict)


@cache
def training_tasks() -> dict[str, TrainingTask]:
    """Every task that transformers models can be built for, by name."""
    found = declared("planner.models.building.tasks", "TASKS")
    return {task.name: task for group in found for task in group}


def training_task(name: str, config: Any) -> TrainingTask:
    """The task of a config. Raises KeyError for one that transformers models are not built for."""
    task = training_tasks()[name]
    return (task.variant(config) if task.variant else None) or task
