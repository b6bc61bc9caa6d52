"""What an objective is: what a step learns from, beside the strategy, which says what trains. One
file an objective (``training/objectives``); the registry finds it.

The descriptive half needs no torch. ``tuned`` gives a model with its strategy applied the
objective's step: its batch, its passes, its loss, as TRL runs them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from planner.training.strategy import Prepared, count, freeze

if TYPE_CHECKING:
    import torch

#: The task whose model has one number a text: rewards and values.
SCORING_TASK = "reranking"
#: What a sample of the data is; ``question/training_setting.py`` has the same words.
PAIRS, JUDGED, PROMPTS, TEXTS = "pairs", "judged texts", "prompts", "texts"
#: Where a teacher works: in every step, or once before the first, when it writes all answers.
IN_STEP, BEFORE = "in step", "before"
#: Whose trainer runs it.
TRL, TORCHTUNE = "TRL", "torchtune"
#: Precisions whose outputs accelerate gives back in float32 (accelerate utils/operations.py:
#: convert_outputs_to_fp32), as it does under autocast. TRL's configurations turn it on by
#: themselves (huggingface/trl@f2cd577 trl/trainer/base_config.py: bf16), over weights of 16 bits
#: too.
WIDENED = ("amp_bf16", "amp_fp16", "bf16", "fp16")


@dataclass(frozen=True)
class Objective:
    """``samples``: what it learns from, of PAIRS, JUDGED, PROMPTS, TEXTS. ``reference``: whether a
    frozen copy of the model may be compared with, ``usual``: whether TRL does by default;
    ``in_step``: whether its pass is part of a step, else it runs once a rollout. ``scores``:
    whether the model that trains has one number a text. ``judges``: a value model trains beside
    it, and a reward model lies there. ``scoring``: passes over a completion before it is trained
    on, without the reference's, with those of ``through_vllm`` beside where another engine wrote
    it. ``updates``: how often each completion is trained on. ``teacher``: where it works, of
    IN_STEP, BEFORE, empty without one. ``replaces``: whether the student may write the answers of
    a part of the texts itself. ``library``: whose trainer runs it, of TRL, TORCHTUNE. ``rounded``:
    sizes of pieces of the logits, as monomials that are rounded."""

    name: str
    title: str
    learns: str
    samples: str
    order: int
    batch: Callable[[Sizes], dict[str, Any]]
    loss: Callable[[Passes, dict[str, Any]], torch.Tensor]
    symbols: tuple[str, ...] = ("B", "S")
    reference: bool = False
    usual: bool = True
    in_step: bool = False
    scores: bool = False
    judges: bool = False
    scoring: int = 0
    through_vllm: int = 0
    updates: int = 1
    teacher: str = ""
    replaces: bool = False
    library: str = TRL
    rounded: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        return self.samples == PROMPTS

    @property
    def repeats(self) -> bool:
        """Whether several completions of a prompt may be written."""
        return self.writes and not self.judges

    @property
    def grouped(self) -> bool:
        """Whether the completions of a prompt are compared with each other."""
        return self.repeats and not self.teacher

    @property
    def completes(self) -> bool:
        """Whether some model writes completions, all of them or a part."""
        return self.writes or self.replaces or self.teacher == BEFORE

    @property
    def is_traced(self) -> bool:
        """Whether its step is another than the task's own."""
        return self.teacher != BEFORE


@dataclass(frozen=True)
class Sizes:
    """What a batch is made for: ``samples``, their ``length``, and of completions the ``target``
    length; ``has_references``: the reference's log-probabilities come with the data."""

    samples: int
    length: int
    target: int
    has_references: bool

    def ids(self, *shape: int) -> torch.Tensor:
        """int64 [*shape] on meta: tokens, and masks as collators make them."""
        import torch

        return torch.empty(shape, dtype=torch.int64, device="meta")

    def numbers(self, *shape: int) -> torch.Tensor:
        """float32 [*shape] on meta: log-probabilities, advantages."""
        import torch

        return torch.empty(shape, dtype=torch.float32, device="meta")

    def texts(self, number: int) -> dict[str, Any]:
        """So many texts with the masks of their padding and of what was answered."""
        names = ("input_ids", "attention_mask", "completion_mask")
        return {name: self.ids(number, self.length) for name in names}

    def labelled(self) -> dict[str, Any]:
        """Texts with what is learnt of them: all of their tokens at the most."""
        names = ("input_ids", "attention_mask", "labels")
        return {name: self.ids(self.samples, self.length) for name in names}


class Passes:
    """The passes that a loss may run. ``policy`` is what trains; ``value`` is None without a value
    model."""

    def __init__(
        self,
        policy: Any,
        reference: Any,
        *,
        compares: bool,
        widens: bool,
        value: Any = None,
    ) -> None:
        self.module, self._reference, self.value = policy, reference, value
        self.compares, self._widens = compares, widens
        self.entering: Callable[[], None] = _nothing
        self.leaving: Callable[[], None] = _nothing
        self.waiting: Callable[[], None] = _nothing
        self.ended: Callable[[], None] = _nothing

    def policy(self, batch: dict[str, Any], **more: Any) -> torch.Tensor:
        """Logits of the model that trains."""
        return self._logits(self.module, batch, more)

    @property
    def teacher(self) -> Any:
        """The teacher's module, which ``reference`` runs; None without one."""
        return self._reference

    @contextlib.contextmanager
    def reference(self) -> Iterator[Callable[..., Any]]:
        """Without gradients: the second copy or the teacher, else the same model with its adapters
        off."""
        import torch

        self.entering()
        with torch.no_grad():
            if self._reference is not None:
                yield lambda batch, **more: self._logits(self._reference, batch, more)
            else:
                with self.module.disable_adapter():
                    yield self.policy
        self.leaving()

    def log(self, *figures: torch.Tensor) -> None:
        """Single numbers that go into the trainer's log: the host waits for each."""
        for _ in figures:
            self.waiting()

    def _logits(self, module: Any, batch: dict[str, Any], more: dict[str, Any]) -> torch.Tensor:
        logits = module(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            use_cache=False,
            **more,
        ).logits
        logits = logits.float() if self._widens else logits
        self.ended()
        return logits

    def values(self, batch: dict[str, Any]) -> torch.Tensor:
        """[B, S, 1] of the value model (TRL's PolicyAndValueWrapper)."""
        model = self.value
        inner = getattr(model, model.base_model_prefix)
        hidden = inner(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).last_hidden_state
        found = model.score(hidden)
        found = found.float() if self._widens else found
        self.ended()
        return found


def _nothing() -> None:
    pass


def feed(built: Any, objective: Objective, recipe: Any) -> None:
    """Before its strategy is applied: the model is fed what the objective learns from."""
    ready = recipe.reference == "precomputed"
    built.symbols = objective.symbols
    built.make_batch = lambda b, s, t: objective.batch(Sizes(b, s or 0, t or 0, ready))
    if objective.scores:  # PEFT trains a classifier's head beside its adapters (SEQ_CLS)
        named = built.module.named_parameters()
        own = {name for name, _ in named if built.in_head(name)}
        built.beside_adapters = built.beside_adapters | own


def tuned(
    prepared: Prepared,
    built: Any,
    recipe: Any,
    objective: Objective,
    build: Callable[[str | None], Any],
) -> Prepared:
    """A prepared model with the objective's step. ``build(task)`` makes a further copy: of the
    model itself (None), or of one with that task's head. Adapters need no copy for a reference."""
    adapts = recipe.strategy != "fine_tune"
    compares = objective.reference and recipe.reference == "model"
    beside = [build(None).module] if compares and not adapts else []
    if objective.teacher:
        beside = [_teacher(build(None), recipe)]
    reference = beside[0] if beside else None
    if objective.judges:
        beside.append(build(SCORING_TASK).module)
    for module in beside:
        freeze(module)
        module.eval()
    value = build(SCORING_TASK).module if objective.judges else None
    passes = Passes(
        built.module,
        reference,
        compares=compares,
        widens=recipe.precision in WIDENED and objective.library == TRL,
        value=value,
    )

    def forward(batch, *told):
        """``told``: where passes without gradients begin and end, where the host waits, where the
        call of a model ends; nothing of a real run."""
        named = zip(("entering", "leaving", "waiting", "ended"), told, strict=False)
        for name, function in named:
            setattr(passes, name, function)
        return objective.loss(passes, batch)

    made = replace(
        prepared, forward=forward, teacher=_together(beside), has_passes=True, after_update=None
    )
    return made if value is None else _with_value(made, value)


def _teacher(built: Any, recipe: Any) -> Any:
    """In the weights' number format of the student, or as its checkpoint stores it."""
    if built.facts.quantization is not None:
        from planner.training.quantised.apply import store_frozen

        store_frozen(built, recipe)
    return built.module


def _together(modules: list[Any]) -> Any:
    """Models that lie beside the one that trains, as one module."""
    if len(modules) < 2:
        return modules[0] if modules else None
    import torch

    return torch.nn.ModuleDict(dict(zip(("reference", "reward"), modules, strict=True)))


def _with_value(prepared: Prepared, value: Any) -> Prepared:
    """The value model trains whole beside the policy, adapters or not (TRL's PPOTrainer)."""
    import torch

    value.train()
    both = torch.nn.ModuleDict({"policy": prepared.module, "value": value})
    own = [p for p in value.parameters() if p.requires_grad]
    return replace(
        prepared,
        module=both,
        trainable=[*prepared.trainable, *own],
        total_parameters=prepared.total_parameters + count(own),
    )
