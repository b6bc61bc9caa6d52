"""A user's own model through package.module:function."""

import sys

import pytest
import torch

from planner.errors import ModelError
from planner.models.building.build import build
from planner.models.resolve import resolve

GOOD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.out = nn.Linear(8, 5)
    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.out(x)

def make():
    def batch(B, S):
        return {"x": torch.randn(B, S, 8), "labels": torch.zeros(B, dtype=torch.long)}
    def loss(module, batch):
        return nn.functional.cross_entropy(module(batch["x"]).mean(1), batch["labels"])
    return Net(), batch, loss

class Own(Net):
    def example_batch(self, B):
        return {"x": torch.randn(B, 8)}
    def forward(self, x):
        return super().forward(x).square().mean()

def bare():
    return Own()

def fails():
    raise RuntimeError("no data")

def wrong():
    return 5

def odd():
    return Net(), lambda n, m: {}, lambda module, batch: None

number = 3
"""


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    (tmp_path / "own_models_for_test.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_models_for_test"
    sys.modules.pop("own_models_for_test", None)


def test_a_factory_is_built_and_fed_on_meta(own_models):
    facts = resolve(f"{own_models}:make")
    assert own_models not in sys.modules  # resolving reads the source and runs none of it
    built = build(facts, dtype="bfloat16")
    batch = built.batch(4, 6)
    assert (
        batch["x"].is_meta
        and batch["x"].dtype == torch.bfloat16
        and batch["labels"].dtype == torch.int64
        and batch["x"].shape == (4, 6, 8)
    )
    loss = built.loss(built.module, batch)
    loss.backward()
    assert (
        loss.is_meta and loss.ndim == 0 and built.symbols == ("B", "S") and len(built.blocks) == 3
    )
    assert built.head == ("out",) and sum(p.numel() for p in built.head_parameters()) == 45
    assert built.linear_names() == ["layers.0", "layers.1", "layers.2"]
    assert built.logits(built.module, batch).shape == (4, 6, 5)
    built.enable_checkpointing()
    built.loss(built.module, batch).backward()


def test_a_bare_module_says_how_it_is_fed(own_models):
    built = build(resolve(f"{own_models}:bare"))
    assert built.symbols == ("B",) and built.loss(built.module, built.batch(4)).ndim == 0


def test_the_fingerprint_follows_the_source(own_models, tmp_path):
    before = resolve(f"{own_models}:make").fingerprint
    assert resolve(f"{own_models}:bare").fingerprint != before
    (tmp_path / "own_models_for_test.py").write_text(GOOD.replace("range(3)", "range(4)"))
    assert resolve(f"{own_models}:make").fingerprint != before


@pytest.mark.parametrize(
    "function, says",
    [
        ("fails", "no data"),
        ("wrong", "must return"),
        ("odd", "batch function"),
        ("number", "not a function"),
        ("absent", "absent"),
    ],
)
def test_wrong_factories_are_one_line(own_models, function, says):
    with pytest.raises(ModelError, match=says) as error:
        build(resolve(f"{own_models}:{function}"))
    assert "\n" not in str(error.value) and error.value.exit_code == 2
