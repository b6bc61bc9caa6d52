"""QLoRA: LoRA over weights stored in 4 bits (Dettmers et al. 2023, arXiv 2305.14314)."""

from __future__ import annotations

from planner.training.strategies.lora import apply
from planner.training.strategy import Strategy

STRATEGY = Strategy(
    "qlora",
    "QLoRA",
    "low-rank adapters on 4-bit weights",
    apply,
    order=50,
    uses_lora=True,
    four_bit=True,
)
