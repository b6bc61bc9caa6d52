"""BuiltModel: a module on the meta device and everything a strategy needs to train it. Torch is
imported by whoever builds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planner.errors import ModelError
from planner.models.facts import ModelFacts

if TYPE_CHECKING:
    import torch

    Batch = Mapping[str, torch.Tensor]


@dataclass
class BuiltModel:
    """``symbols`` are what a batch's sizes depend on: B (samples), S (sequence length; of Whisper
    the decoder's, of a CTC model frames of sound), T (an encoder-decoder's target length, the
    characters of a CTC model). ``head`` are prefixes of parameter
    names: what feature extraction trains. ``blocks`` are the repeated blocks from input to output,
    ``block_names`` their names: what partial fine-tuning counts.
    """

    module: torch.nn.Module
    facts: ModelFacts
    task: str
    symbols: tuple[str, ...]
    make_batch: Callable[[int, int | None, int | None], dict[str, Any]]
    loss_function: Callable[[torch.nn.Module, Batch], torch.Tensor]
    logits_function: Callable[[torch.nn.Module, Batch], torch.Tensor]
    head: tuple[str, ...]
    blocks: list[torch.nn.Module]
    checkpoint: Callable[..., None]
    #: Undoes ``checkpoint``; None where only a model built anew is without.
    stop_checkpointing: Callable[[], None] | None = field(default=None, kw_only=True)
    #: (student's, teacher's logits) → what a distillation minimises; None for the divergence of
    #: their softmaxes beside the task's own loss.
    soft_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    #: Parameters that a full fine-tuning leaves alone too, as the task's usual recipe does.
    frozen: frozenset[str] = frozenset()
    #: Parameters whose layers take adapters only where they are named, and those that train beside
    #: adapters.
    unadapted: frozenset[str] = frozenset()
    beside_adapters: frozenset[str] = frozenset()
    assumptions: tuple[str, ...] = ()
    #: What runs after every update of the weights (a teacher that averages them).
    after_update: Callable[[], None] | None = None
    #: The part that strategies train, "" where that is the whole module.
    trunk: str = ""
    #: What mixed precision does to frozen weights: (type, denoiser=is the trunk frozen too).
    store_half: Callable[..., None] | None = None
    #: Makes this model its frozen parts alone ("features"), or what trains on what they gave out
    #: before ("cached").
    cached: Callable[[BuiltModel, str], None] | None = None
    #: DreamBooth: half of a batch, which is twice as large, is of the class.
    preserve_prior: Callable[[BuiltModel], None] | None = None
    #: The frozen parts alone, where they are not what stands before the head.
    features: Callable[[Batch], Any] | None = None

    def batch(self, B: int, S: int | None = None, T: int | None = None) -> dict[str, Any]:
        """Meta tensors that ``loss`` takes, in the model's dtypes. Raises ModelError when a size
        that it needs is missing."""
        given = {"B": B, "S": S, "T": T}
        missing = [symbol for symbol in self.symbols if given[symbol] is None]
        if missing:
            raise ModelError(
                f"{self.facts.name} needs {', '.join(missing)} for a batch (B samples, S "
                "sequence length, T target length)"
            )
        return self.make_batch(B, S, T)

    def loss(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The scalar training loss of ``module`` (this one, wrapped or not) on a batch."""
        return self.loss_function(module, batch)

    def logits(self, module: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """What a distillation compares: the outputs before the loss, without computing the loss."""
        return self.logits_function(module, batch)

    def enable_checkpointing(self, **options: Any) -> None:
        """Recompute every block in the backward pass (non-reentrant); ``options`` go to
        torch.utils.checkpoint (``context_fn`` for selective checkpointing). Raises ModelError where
        the model cannot."""
        self.checkpoint(**options)

    def head_parameters(self) -> list[torch.nn.Parameter]:
        """The head's parameters, each once. An output embedding that is tied to the input embedding
        is in it."""
        found = {
            id(p): p
            for name, p in self.module.named_parameters(remove_duplicate=False)
            if self.in_head(name)
        }
        return list(found.values())

    def in_head(self, name: str) -> bool:
        return any(name == prefix or name.startswith(prefix + ".") for prefix in self.head)

    @property
    def head_tied(self) -> bool:
        """Is a parameter of the head also the parameter of another module?"""
        head = {id(p) for p in self.head_parameters()}
        return any(
            id(p) in head
            for name, p in self.module.named_parameters(remove_duplicate=False)
            if not self.in_head(name)
        )

    @property
    def block_names(self) -> list[str]:
        names = {id(module): name for name, module in self.module.named_modules()}
        return [names[id(block)] for block in self.blocks]

    def linear_names(self) -> list[str]:
        """Names for "every linear layer but the head", as PEFT's target_modules takes them: the
        last part (``q_proj``) where every module of that name is such a layer, the whole name
        elsewhere. Of ``trunk`` alone, and within it, where there is one."""
        modules = dict(self._trained().named_modules())
        before = f"{self.trunk}." if self.trunk else ""
        apart = self.unadapted | self.beside_adapters
        linear = [
            name
            for name, module in modules.items()
            if _is_linear(module)
            and not self.in_head(before + name)
            and f"{before}{name}.weight" not in apart
        ]
        others = {name.rpartition(".")[2] for name in modules} - {
            name.rpartition(".")[2] for name in linear
        }
        chosen = set(linear)
        shared = {name.rpartition(".")[2] for name in modules if name not in chosen} - others
        return sorted(
            {
                name if (last := name.rpartition(".")[2]) in shared or last.isdigit() else last
                for name in linear
            }
        )

    def _trained(self) -> torch.nn.Module:
        return self.module.get_submodule(self.trunk) if self.trunk else self.module


def _is_linear(module: torch.nn.Module) -> bool:
    import torch

    own = type(module)
    return isinstance(module, torch.nn.Linear) or (
        own.__name__ == "Conv1D" and own.__module__ == "transformers.pytorch_utils"
    )


def largest_module_list(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The blocks of a model whose author's names are not known: its longest ModuleList."""
    import torch

    lists = [part for part in module.modules() if isinstance(part, torch.nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []
