"""Heads that cannot be trained on kept features alone say so in one line."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

if not importlib.util.find_spec("torch"):
    pytest.skip("needs torch", allow_module_level=True)

import torch
from torch import nn

from planner.errors import ModelError
from planner.training.strategies.feature_extraction import _inputs


class Head(nn.Linear):
    def forward(self, features, twice=False):
        out = super().forward(features)
        return (out, out) if twice else out


class Model(nn.Module):
    def __init__(self, named, twice):
        super().__init__()
        self.head, self.named, self.twice = Head(4, 2), named, twice

    def forward(self, x):
        if self.named:
            return self.head(features=x)
        return self.head(x, self.twice) if self.twice else self.head(x)


def built(named=False, twice=False):
    return SimpleNamespace(
        module=Model(named, twice),
        head=("head",),
        facts=SimpleNamespace(name="toy"),
        logits=lambda module, batch: module(batch),
    )


def test_a_head_over_several_stages_is_refused():
    model = built()
    model.module.head.forward = lambda maps: maps[0]
    with pytest.raises(ModelError, match="takes several tensors"):
        _inputs(model, (torch.empty(3, 4), torch.empty(3, 4)))


def test_a_head_of_one_tensor_is_fed_with_it():
    ((entering, leaving),) = _inputs(built(), torch.empty(3, 4)).values()
    assert entering.shape == (3, 4) and leaving == (3, 2)


@pytest.mark.parametrize(
    ("how", "why"),
    [({"named": True}, "takes its inputs by name"), ({"twice": True}, "gives out several tensors")],
)
def test_other_heads_are_refused(how, why):
    with pytest.raises(ModelError, match=why):
        _inputs(built(**how), torch.empty(3, 4))
