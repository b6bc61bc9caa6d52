"""Feature extraction: the backbone is frozen, a head trains on what it gives out.

Three recordings: the whole step with the backbone run every time (``variant`` None); the forward
pass that makes the features once (``features``); the head alone on features read back (``cached``).
"""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName, ModelError
from planner.training.strategy import Prepared, Strategy, count, freeze, plain


def apply(built, recipe, build) -> Prepared:
    total = count(built.module.parameters())
    if recipe.variant is not None and recipe.loss is not None:
        raise ModelError(
            f"a head on cached features has its own loss, and {FieldName('loss')} {recipe.loss} is "
            "computed inside the whole model",
            where=built.facts.name,
            mend=f"Leave it out, or use {FieldName('cached_features', off=True)}",
        )
    if built.facts.quantization is not None:
        from planner.training.quantised.apply import store_frozen

        store_frozen(built, recipe)
    freeze(built.module)
    if recipe.variant == "features" and built.features is not None:
        return _backbone_only(built, total)
    head = list(built.head_parameters())
    if not head:
        raise ModelError(f"{built.facts.name} has no head to train")
    if not all(parameter.is_floating_point() for parameter in head):
        raise ModelError(f"the head of {built.facts.name} is quantised: it cannot be trained")
    for parameter in head:
        parameter.requires_grad_(True)
    if recipe.variant == "features":
        return _backbone_only(built, total)
    if recipe.variant == "cached":
        return _head_only(built, total)
    prepared = plain(built, head)
    prepared.total_parameters = total
    return prepared


def _backbone_only(built, total: int) -> Prepared:
    import torch

    freeze(built.module)
    built.module.eval()
    if built.features is not None:
        return Prepared(built.module, [], built.features, built.batch, total, inference=True)

    def forward(batch):
        with torch.no_grad():
            return _features(built, batch)

    return Prepared(built.module, [], forward, built.batch, total, inference=True)


def _head_only(built, total: int) -> Prepared:
    """The head's modules, fed with tensors of the shape that really enters them, and the task's
    loss on what they give."""
    import torch

    chains: list[list] = []  # known when a batch has run through the model once

    def batch(B, S=None, T=None):
        with torch.no_grad():
            whole = built.batch(B, S, T) if T is not None else built.batch(B, S)
            entering = _inputs(built, whole)
        chains[:] = _chains(built, entering)
        kept = {f"features{i}": entering[chain[0]][0] for i, chain in enumerate(chains)}
        return {
            name: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device)
            for name, t in kept.items()
        } | {"labels": whole.get("labels")}

    def forward(data):
        ends: list[Any] = []
        for number, chain in enumerate(chains):
            value = data[f"features{number}"]
            for module in chain:
                value = module(value)
            ends.append(value)
        mean: Any = ends[0] if len(ends) == 1 else sum(ends) / len(ends)
        logits = mean.reshape(-1, mean.shape[-1]).float()
        labels = (
            data["labels"]
            if data["labels"] is not None
            else torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
        )
        rows = labels.reshape(-1)
        if rows.is_floating_point():  # a regression, of one value a sample
            _check_ends(built, logits.numel() == rows.numel())
            return torch.nn.functional.mse_loss(logits.reshape(-1), rows)
        _check_ends(built, logits.shape[0] >= rows.shape[0])
        return torch.nn.functional.cross_entropy(
            logits[: rows.shape[0]] if logits.shape[0] > rows.shape[0] else logits, rows
        )

    holder = torch.nn.ModuleList(_head_modules(built))
    return Prepared(
        holder, [p for p in holder.parameters() if p.requires_grad], forward, batch, total
    )


def _check_ends(built, agree: bool) -> None:
    """Raises ModelError where the head gives out something else than a prediction a label, as the
    parameters of a distribution, which the model's own loss reads."""
    if not agree:
        raise ModelError(
            f"what the head of {built.facts.name} gives out is read by the model's own loss: it is "
            "not trained apart",
            mend=f"Use {FieldName('cached_features', off=True)}",
        )


def _chains(built, entering: dict) -> list[list]:
    """The head's modules, each after the one whose output it takes; a head of its own (a
    distillation token's) begins a chain. Raises ModelError when none of them runs."""
    chains, before = [], None
    for module, (value, out_shape) in entering.items():
        if chains and before is not None and before[-1] == value.shape[-1]:
            chains[-1].append(module)
        else:
            chains.append([module])
        before = out_shape
    if not chains:
        raise ModelError(f"the head of {built.facts.name} does not run in its forward pass")
    return chains


def _inputs(built, batch) -> dict:
    """Head module → (the tensor that enters it, the shape of its output), in the order in which a
    real forward pass runs them."""
    found: dict = {}

    def entered(module, args, out):
        found.setdefault(module, (_first(built, args), tuple(_only(built, out).shape)))

    hooks = [module.register_forward_hook(entered) for module in _head_modules(built)]
    try:
        built.logits(built.module, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _first(built, args: tuple):
    """The tensor that enters a head. Raises ModelError for a head that takes several, as one over
    all stages does, or takes them by their names, as a decoder of masks does."""
    if not args or not hasattr(args[0], "shape"):
        how = "several tensors" if args else "its inputs by name"
        raise ModelError(
            f"the head of {built.facts.name} takes {how}, not one tensor of features",
            mend=f"Use {FieldName('cached_features', off=True)}",
        )
    return args[0]


def _only(built, out):
    """What a head gives out. Raises ModelError where that are several tensors."""
    if not hasattr(out, "shape"):
        raise ModelError(
            f"the head of {built.facts.name} gives out several tensors: it is not trained apart",
            mend=f"Use {FieldName('cached_features', off=True)}",
        )
    return out


def _head_modules(built) -> list:
    """The head's modules in the order in which they are declared. Raises ModelError when a part of
    the head is a bare parameter."""
    try:
        return [built.module.get_submodule(name) for name in built.head]
    except AttributeError as error:
        raise ModelError(
            f"the head of {built.facts.name} is not made of modules",
            mend=f"Use {FieldName('cached_features', off=True)}",
        ) from error


class _Reached(Exception):
    """The head was reached: the backbone's work is done."""


def _features(built, batch):
    """The tensor that enters the head's first module, found by stopping a real forward pass
    there."""
    first = _head_modules(built)[0]
    kept = {}

    def stop(_module, args):
        kept["features"] = _first(built, args)
        raise _Reached

    hook = first.register_forward_pre_hook(stop)
    try:
        built.logits(built.module, batch)
    except _Reached:
        pass
    finally:
        hook.remove()
    if "features" not in kept:
        raise ModelError(f"the head of {built.facts.name} does not run in its forward pass")
    return kept["features"]


STRATEGY = Strategy(
    "feature_extraction", "feature extraction", "a head on a frozen backbone", apply, order=10
)
