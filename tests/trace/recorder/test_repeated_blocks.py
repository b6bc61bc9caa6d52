"""Modules made by hand, each of a shape that repeats in its own way, or must not be repeated."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

if not importlib.util.find_spec("torch"):
    pytest.skip("needs torch", allow_module_level=True)

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from planner.models.building.built import BuiltModel
from planner.trace.raw import RawTrace
from planner.trace.recorder.dispatch_mode import quiet
from planner.trace.recorder.repeat.flat import flattened, written_out
from planner.trace.recorder.repeat.stacks import Run, find_runs
from planner.trace.recorder.step_runner import StepRunner
from planner.trace.table import PHASES
from planner.training.recipe import Recipe

WIDTH = 8
#: The code looks at a block's number where no attribute and no configuration tells it.
HIDDEN_PLACE = 6


class Wide(nn.Module):
    def __init__(self, factor: int = 2):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, factor * WIDTH), nn.Linear(factor * WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Across(nn.Module):
    """Attends to something else, as a decoder's block to the encoder's output."""

    def __init__(self):
        super().__init__()
        self.q, self.kv = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, x, other):
        k, v = self.kv(other).chunk(2, dim=-1)
        return x + torch.softmax(self.q(x) @ k.transpose(1, 2), dim=-1) @ v


class Scaled(Wide):
    def __init__(self, number: int, *, kept: bool):
        super().__init__()
        self.number = number
        if kept:
            self.scale = 1 / (number + 1)

    def forward(self, x):
        return super().forward(x) * (1 / (self.number + 1))


class Model(nn.Module):
    """``blocks`` one after another between an embedding and a head."""

    def __init__(self, blocks):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, WIDTH), nn.Linear(WIDTH, 50)
        self.blocks = nn.ModuleList(blocks)

    def run(self, x):
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, ids):
        return self.head(self.run(self.embed(ids)))


class Twice(Model):
    def run(self, x):
        return super().run(x) + super().run(x * 2)


class Looking(Model):
    """Takes the output of its fourth block too."""

    def run(self, x):
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return x + states[3]


class Stacking(Model):
    def run(self, x):
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1]))
        return torch.stack(states).mean(dim=0)


class Counting(Model):
    def run(self, x):
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number >= HIDDEN_PLACE:
                x = torch.tanh(x)
        return x


class ByNumber(Model):
    def run(self, x):
        for number in range(9):
            x = self.blocks[number](x)
        return x


class Biased(Model):
    """What the first block makes is read by all, as T5's relative positions are."""

    def __init__(self, blocks):
        super().__init__(blocks)
        self.bias = nn.Linear(WIDTH, WIDTH)

    def run(self, x):
        bias = self.bias(x)
        for block in self.blocks:
            x = block(x) + bias
        return x


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(50, WIDTH), nn.Linear(WIDTH, 50)
        self.encoder = nn.ModuleList(Wide() for _ in range(14))
        self.decoder = nn.ModuleList(Across() for _ in range(14))

    def forward(self, ids):
        read = self.embed(ids)
        for block in self.encoder:
            read = block(read)
        x = self.embed(ids)
        for block in self.decoder:
            x = block(x, read)
        return self.head(x)


class Experts(nn.Module):
    """Every expert sees every token: five equal ones within each block."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(WIDTH, 5)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(5))

    def forward(self, x):
        share = torch.softmax(self.router(x), dim=-1)
        for number, expert in enumerate(self.experts):
            x = x + expert(x) * share[..., number : number + 1]
        return x


def tied(model: Any) -> Any:
    """Every block has the first one's weight."""
    for block in model.blocks:
        block.up.weight = model.blocks[0].up.weight
    return model


def runner(make, **more) -> StepRunner:
    built: list[BuiltModel] = []

    def build():
        with torch.device("meta"):
            module = make()
        built.append(
            BuiltModel(
                module=module.train(),
                facts=SimpleNamespace(  # type: ignore[arg-type]
                    name="by hand", quantization=None, library="transformers"
                ),
                task="causal_lm",
                symbols=("B", "S"),
                make_batch=lambda b, s, _: {
                    "ids": torch.empty((b, s), dtype=torch.int64, device="meta")
                },
                loss_function=lambda m, batch: m(batch["ids"]).float().mean(),
                logits_function=lambda m, batch: m(batch["ids"]),
                head=("head",),
                blocks=list(getattr(module, "blocks", ())),
                checkpoint=lambda **_: None,
            )
        )
        return built[0]

    plain = {"strategy": "fine_tune", "task": "causal_lm", "precision": "fp32"}
    return StepRunner(build, Recipe(**plain | {"optimizer": "adamw"} | more))


def written(raw: RawTrace):
    """By names and values, but for the optimizer's numbers that change from step to step."""
    updates = {s for s, phase, _ in raw.operations if PHASES[phase] == "optimizer"}
    raw.signatures = [
        (*s[:3], ()) if number in updates else s for number, s in enumerate(raw.signatures)
    ]
    return written_out(flattened(raw, []))


def holds(runs: StepRunner) -> bool:
    """Whether steps are repeated; each is then the whole one."""
    point = {"B": 3, "S": 5}
    step = runs.record(**point)
    with quiet():
        assert written(step) == written(runs.record_whole(point))
    return runs.repeated.why is None


def row(kinds: str):
    factors = {"a": 2, "b": 3, "c": 5}
    return lambda: Model([Wide(factors[kind]) for kind in kinds])


@pytest.mark.parametrize(
    "kinds", ["a" * 9, "ab" * 6, "aaaaab" * 6, "ccc" + "a" * 9, "a" * 7 + "b" * 8, "caaaaaaaaabb"]
)
@pytest.mark.parametrize("precision", ["fp32", "amp_fp16"])
def test_rows_of_equal_units_are_repeated(kinds, precision):
    assert holds(runner(row(kinds), precision=precision))


REPEATED = {
    "a tower run twice": lambda: Twice([Wide() for _ in range(8)]),
    "a bias for all": lambda: Biased([Wide() for _ in range(16)]),
    "an encoder and a decoder": Translator,
    "experts within": lambda: Model([Experts() for _ in range(9)]),
    "stacks within stacks": lambda: Model(
        [nn.Sequential(*(Wide() for _ in range(6))) for _ in range(7)]
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_these_are_repeated(name):
    assert holds(runner(REPEATED[name]))


WHOLE = {
    "the fourth block's output": lambda: Looking([Wide() for _ in range(9)]),
    "all outputs in one tensor": lambda: Stacking([Wide() for _ in range(9)]),
    "a number that the loop counts": lambda: Counting([Wide() for _ in range(9)]),
    "a scale of each block's own": lambda: Model([Scaled(i, kept=True) for i in range(9)]),
    "a scale of a block's number": lambda: Model([Scaled(i, kept=False) for i in range(9)]),
    "blocks fetched by their numbers": lambda: ByNumber([Wide() for _ in range(9)]),
    "no stack": lambda: Model([Wide(), Wide(3)]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_these_are_recorded_whole(name):
    assert not holds(runner(WHOLE[name]))


def test_tied_weights_are_right_repeated_or_not():
    holds(runner(lambda: tied(Model([Wide() for _ in range(8)]))))


@pytest.mark.parametrize("optimizer", ["adamw_for_loop", "adamw_8bit", "adafactor", "lion", "sgd"])
def test_the_update_is_of_all_parameters(optimizer):
    assert holds(runner(row("a" * 8), optimizer=optimizer))


def test_partial_fine_tuning_repeats_the_frozen_blocks_alone():
    runs = runner(row("a" * 12), strategy="partial_fine_tune", unfrozen_blocks=2)
    assert holds(runs)
    assert runs.repeated.cut == {"blocks": [[3, 10]]}
    assert runs.counts()["repeated"] == {"blocks": [[3, 10]]}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=3),
    st.integers(3, 7),
    st.lists(st.sampled_from("abc"), max_size=3),
    st.sets(st.integers(0, 20)),
)
def test_any_pattern_with_any_blocks_frozen_is_the_whole_step(unit, units, tail, frozen):
    def make():
        model = row("".join(unit * units + tail))()
        for number in frozen & set(range(len(model.blocks))):
            model.blocks[number].requires_grad_(False)
        return model

    runs = runner(make)
    for parameter in runs.prepared.module.parameters():
        parameter.requires_grad_(True)
    for number in frozen & set(range(len(runs.built.blocks))):
        runs.built.blocks[number].requires_grad_(False)
    runs.prepared.trainable[:] = [p for p in runs.built.module.parameters() if p.requires_grad]
    holds(runs)


@pytest.mark.parametrize(
    ("marks", "runs"),
    [
        ("aaaaa", [Run(0, 1, 5)]),
        ("aaaa", []),
        ("abababababx", [Run(0, 2, 5)]),
        ("cccaaaaaa", [Run(3, 1, 6)]),
        ("aaaaabaaaaabaaaaabaaaaabaaaaabaa", [Run(0, 6, 5)]),
        ("aaaaaabbbbb", [Run(0, 1, 6), Run(6, 1, 5)]),
    ],
)
def test_runs(marks, runs):
    assert find_runs(list(marks)) == runs
