"""Modules of a user's own: several inputs, nested batches, own losses, control flow on the data."""

import numpy as np
import pytest

from planner.errors import ModelError
from planner.models.resolve import resolve
from planner.trace.recorder.regimes import record_regime, runner_for
from planner.training.recipe import Recipe

OWN = '''
import dataclasses
from typing import NamedTuple

import torch
from torch import nn


@dataclasses.dataclass
class Out:
    loss: torch.Tensor
    logits: torch.Tensor


@dataclasses.dataclass
class Pair:
    left: torch.Tensor
    right: torch.Tensor


class TwoInputs(nn.Module):
    """Two inputs by name, a dataclass with a loss out."""
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 4), nn.Linear(6, 4)
    def example_batch(self, B):
        return {"left": torch.randn(B, 8), "right": torch.randn(B, 6),
                "labels": torch.zeros(B, dtype=torch.long)}
    def forward(self, left, right, labels):
        logits = self.a(left) + self.b(right)
        return Out(nn.functional.cross_entropy(logits, labels), logits)


class Nested(nn.Module):
    """A dictionary of tuples and a dataclass as one argument, a dictionary with 'loss' out."""
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 4)
    def example_batch(self, B):
        return {"inputs": {"parts": (torch.randn(B, 8), [torch.randn(B, 8)])},
                "pair": Pair(torch.randn(B, 8), torch.randn(B, 8))}
    def forward(self, batch):
        first, (second,) = batch["inputs"]["parts"]
        pair = batch["pair"]
        return {"loss": self.a(first + second + pair.left - pair.right).square().mean(), "n": 3}


class OwnLoss(nn.Module):
    """A tuple of inputs; a method makes the loss of the outputs and the batch."""
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 4)
    def example_batch(self, B):
        return torch.randn(B, 8), torch.zeros(B, dtype=torch.long)
    def forward(self, x):
        return self.a(x)
    def loss(self, output, batch):
        return nn.functional.cross_entropy(output, batch[1]), {"logged": 1}


class LikeLightning(nn.Module):
    """As a LightningModule: training_step, logging, example_input_array."""
    example_input_array = (torch.zeros(2, 8), torch.zeros(2, dtype=torch.long))
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 4)
    def log(self, *args, **kwargs):
        raise RuntimeError("not attached to a Trainer")
    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.a(x), y)
        self.log("loss", loss)
        return {"loss": loss}


class Asks(nn.Module):
    """Control flow on the data: a condition, item(), nonzero, a boolean index."""
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 4), nn.Linear(4, 4)
    def example_batch(self, B):
        return {"x": torch.randn(B, 5, 8)}
    def forward(self, x):
        y = self.a(x)
        if x.square().sum() > 0:
            y = self.b(y)
        for _ in range(int(torch.ones((), device=x.device).item()) + 1):
            y = self.b(y)
        kept = y[x[..., 0] > 0]
        found = (x[..., 1] > 0).flatten().nonzero()[:, 0]
        return kept.square().mean() + y.flatten(0, 1)[found].mean()


class NoScalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 4)
    def example_batch(self, B):
        return {"x": torch.randn(B, 8)}
    def forward(self, x):
        return self.a(x)


class Unfed(nn.Module):
    pass
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_modules_for_test.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        yield "own_modules_for_test"


def trace_of(name, **recipe):
    facts = resolve(name)
    made = Recipe(
        strategy="fine_tune", task="custom", precision="fp32", optimizer="adamw", **recipe
    )
    family, _ = record_regime(facts, made, None, "b2", None, None)
    return family.traces[0], runner_for(facts, made)


def products(trace, **dims):
    """(operation, its output's shape at the point, how often) of the matrix products forward."""
    sizes = trace.dims(**dims)
    found = []
    for number, signature in enumerate(trace.signatures):
        if signature.op.split(".")[1] in ("addmm", "mm"):
            shape = tuple(int(sizes[i]) for i in signature.outputs[0].shape)
            found.append((shape, int(np.asarray(trace.counts[number]).sum())))
    return found


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("TwoInputs", 8 * 4 + 4 + 6 * 4 + 4),
        ("Nested", 8 * 4 + 4),
        ("OwnLoss", 8 * 4 + 4),
        ("LikeLightning", 8 * 4 + 4),
    ],
)
def test_classes_with_inputs_and_losses_of_their_own_are_traced(own, name, parameters):
    trace, _ = trace_of(f"{own}:{name}")
    assert trace.meta["total_params"] == parameters
    assert "asked_of_data" not in trace.meta
    # each linear layer's product has B rows
    assert all(7 in shape or shape[0] < 9 for shape, _ in products(trace, B=7))


def test_a_batch_of_any_shape_is_there_before_the_step(own):
    trace, runner = trace_of(f"{own}:Nested")
    from torch.utils._pytree import tree_leaves

    assert len(tree_leaves(runner.prepared.batch(B=2))) == 4


def test_control_flow_on_the_data_is_recorded_with_values_and_said(own):
    import torch

    trace, runner = trace_of(f"{own}:Asks")
    asked = " ".join(trace.meta["asked_of_data"])
    for what in ("a condition", "Tensor.item", "nonzero"):
        assert f"{what} (own_modules_for_test.py, line " in asked
    # the condition held: the first layer once, the second three times, on 5 rows a sample
    forward = [count for shape, count in products(trace, B=3) if shape == (15, 4)]
    assert sum(forward) >= 4
    # a boolean index gives what it gives on these values, in proportion to B
    torch.manual_seed(0)
    waits = sum(
        int(np.asarray(trace.counts[i]).sum())
        for i, s in enumerate(trace.signatures)
        if s.op == "aten._local_scalar_dense.default"
    )
    assert waits >= 4  # the condition, the number, two boolean selections


def test_what_has_no_scalar_or_no_batch_is_refused_in_one_line(own):
    with pytest.raises(ModelError, match="no scalar loss but Tensor of shape"):
        trace_of(f"{own}:NoScalar")
    with pytest.raises(ModelError, match="Unfed does not say how it is fed"):
        trace_of(f"{own}:Unfed")
