"""What a recipe's script is run with: the versions that the plan was traced with, and lower bounds
of what it needs besides."""

from __future__ import annotations

from collections.abc import Mapping

from planner.answer.option_values import trace_of
from planner.recipe.expressible import DISTILLED, is_vision
from planner.recipe.launching.sharing import STAGES, parallel_of
from planner.recipe.optimizers import needs_bitsandbytes
from planner.recipe.planned import Planned

#: What no trace names, with the first versions that have what the scripts call.
BESIDE = {
    "accelerate": "accelerate>=1.1",
    "bitsandbytes": "bitsandbytes>=0.45",
    "deepspeed": "deepspeed>=0.16",
    "liger-kernel": "liger-kernel>=0.5",
    "trl": "trl>=1.9",
    "datasets": "datasets>=3.0",
    "pillow": "pillow>=10",
    "pyyaml": "pyyaml>=6.0",
    "timm": "timm>=1.0.15",
    "torchvision": "torchvision>=0.21",
}


def traced_versions(planned: Planned) -> Mapping[str, str]:
    """Library → version of the plan's trace."""
    return trace_of(planned.option).meta.get("versions", {})


def requirements(planned: Planned) -> str:
    traced = {name: version.partition("+")[0] for name, version in traced_versions(planned).items()}
    lines = [
        "# Pinned: what the plan's step was traced with.",
        *(f"{name}=={version}" for name, version in sorted(traced.items())),
        "# What else the script imports.",
        *(BESIDE[name] for name in _beside(planned) if name not in traced),
    ]
    return "\n".join(lines) + "\n"


def _beside(planned: Planned) -> list[str]:
    recipe = planned.recipe
    if is_vision(planned):
        own = "timm" if planned.option.facts.library == "timm" else "torchvision"
        names = ["pyyaml", "pillow", *dict.fromkeys((own, "torchvision"))]
    else:
        names = ["pyyaml", "accelerate"]
    if recipe.objective not in (None, DISTILLED):
        names += ["trl", "datasets"]
    if recipe.strategy == "qlora" or recipe.load_in or needs_bitsandbytes(recipe.optimizer):
        names.append("bitsandbytes")
    if parallel_of(planned).sharding in STAGES:
        names.append("deepspeed")
    if planned.stack.trainer == "liger":
        names.append("liger-kernel")
    return names
