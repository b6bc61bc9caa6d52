"""Mixtures of experts whose code loops over the experts that its data hits, which a step without
data cannot: traced with the experts' products grouped, the same sums over the same rows.

transformers gives most families ``grouped_mm`` by itself (``integrations/moe.py``); those here keep
a loop (``modeling_dbrx.py``, ``modeling_longcat_flash.py``, ``modeling_jetmoe.py``, transformers
5.23). Every expert is taken as hit, and routing as even.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LOOPED = (
    "its experts run one after another in a loop: their products are traced as grouped ones, the "
    "same work without the loop's waiting"
)
GROUPED = (
    "experts run as one grouped product (experts_implementation grouped_mm, what transformers "
    "takes by itself): one kernel in bf16 on Hopper and later, one product an expert elsewhere"
)


def group_experts(module: torch.nn.Module) -> tuple[str, ...]:
    """Give every looping mixture a grouped forward pass, in place. Returns what is assumed."""
    found = False
    for part in module.modules():
        stand_in = STAND_INS.get(type(part).__name__)
        if stand_in is not None:
            part.forward = types.MethodType(stand_in, part)
            found = True
    if found:
        return (LOOPED,)
    grouped = any(hasattr(part, "_is_expert_parallel") for part in module.modules())
    return (GROUPED,) if grouped else ()


def idle_parameters(module: Any) -> int:
    """Weights of experts that one token does not run through, routed ones alone; 0 where the config
    says no number of chosen experts."""
    config = getattr(module, "config", None)
    parts = [config, getattr(config, "text_config", None)]
    chosen = next((n for c in parts if (n := getattr(c, "num_experts_per_tok", None))), None)
    if not isinstance(chosen, int):
        return 0
    idle = 0
    for part in module.modules():
        if not type(part).__name__.endswith("Experts"):
            continue
        for held, elements in _held(part):
            idle += elements // held * max(0, held - chosen)
    return idle


def _held(part: Any) -> list[tuple[int, int]]:
    """(experts, elements of all) of each weight of a module's own; of what is stored in few bits,
    the elements that it stands for."""
    stored = getattr(part, "elements", None)
    if stored is not None:
        return [(part.experts, stored)]
    own = [weights for weights in part.parameters(recurse=False) if weights.dim() in (2, 3)]
    return [(weights.shape[0], weights.numel()) for weights in own if weights.shape[0]]


def looped_linear(rows: torch.Tensor, weights: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Rows (N, K) sorted by expert × weights (E, K, M) → (N, M). ``ends``: (E,), int32. Stands for
    a linear product an expert, which autocast lowers: a mode sees this function by its name."""
    import torch
    from torch.overrides import handle_torch_function, has_torch_function

    if has_torch_function((rows, weights)):
        return handle_torch_function(looped_linear, (rows, weights), rows, weights, ends)
    public = getattr(torch.nn.functional, "grouped_mm", None)
    # older torch has no public name
    grouped = public or torch._grouped_mm  # pyright: ignore[reportPrivateImportUsage]
    return grouped(rows.to(weights.dtype), weights, offs=ends)


def _sorted(index: torch.Tensor, experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The order that puts (tokens × choices) by expert, and where each expert's rows end."""
    import torch

    chosen, order = torch.sort(index.reshape(-1))
    countable = chosen.float() if chosen.device.type == "cpu" else chosen.int()  # as histc takes it
    counts = torch.histc(countable, bins=experts, min=0, max=experts - 1)
    return order, torch.cumsum(counts, dim=0, dtype=torch.int32)


def _mixed(
    states: torch.Tensor,
    index: torch.Tensor,
    weights: torch.Tensor,
    experts: int,
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """States (N, H) through their chosen experts, weighted and added up in place."""
    import torch

    order, ends = _sorted(index, experts)
    token = order // index.shape[-1]
    out = apply(states[token], ends) * weights.reshape(-1)[order].unsqueeze(-1)
    return torch.zeros_like(states).index_add_(0, token, out.to(states.dtype))


def _dbrx(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
    batch, states = hidden_states.shape[0], hidden_states.reshape(-1, self.hidden_size)
    shape = (self.num_experts, self.ffn_hidden_size, self.hidden_size)
    gate, up, down = (getattr(self.mlp, name).view(shape) for name in ("w1", "v1", "w2"))

    def apply(rows: Any, ends: Any) -> Any:
        inner = self.mlp.activation_fn(looped_linear(rows, gate.transpose(1, 2), ends))
        return looped_linear(inner * looped_linear(rows, up.transpose(1, 2), ends), down, ends)

    mixed = _mixed(states, top_k_index, top_k_weights, self.num_experts, apply)
    return mixed.view(batch, -1, self.hidden_size)


def _longcat(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
    """Its experts that do nothing are left out: every choice is taken to reach a real one."""
    experts = self.num_routed_experts

    def apply(rows: Any, ends: Any) -> Any:
        both = looped_linear(rows, self.gate_up_proj[:experts].transpose(1, 2), ends)
        gate, up = both.chunk(2, dim=-1)
        return looped_linear(self.act_fn(gate) * up, self.down_proj.transpose(1, 2), ends)

    return _mixed(hidden_states, top_k_index, top_k_weights, experts, apply)


def _jetmoe_experts(self: Any, inputs: Any, expert_size: Any) -> Any:
    return looped_linear(inputs, self.weight.transpose(1, 2), expert_size)


def _jetmoe_gating(self: Any, hidden_states: Any) -> Any:
    import torch

    logits = self.layer(hidden_states).float()
    top_logits, top_index = logits.topk(self.top_k, dim=1)
    gates = torch.softmax(top_logits, dim=1).type_as(hidden_states)
    order, ends = _sorted(top_index, self.num_experts)
    token = order.div(self.top_k, rounding_mode="trunc")
    return order, token, gates.flatten()[order], ends, logits


#: Class of a looping part → its forward pass without the loop.
STAND_INS: dict[str, Callable[..., Any]] = {
    "DbrxExperts": _dbrx,
    "LongcatFlashExperts": _longcat,
    "JetMoeParallelExperts": _jetmoe_experts,
    "JetMoeTopKGating": _jetmoe_gating,
}
