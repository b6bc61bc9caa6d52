"""Optimizers: what they keep and allocate beside real ones, and how they are named."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from benchmarks.alive import Alive, rounded
from planner.question.optimizers import (
    asked_as,
    asked_names,
    asked_of_class,
    optimizer_rows,
    recipe_names,
)
from planner.trace.recorder.updating import made, recorded_update, spec
from planner.training.optimizers import OPTIMIZERS, state_tensors
from planner.training.optimizers.several import OUTER
from planner.training.recipe import Recipe

#: Real classes that run on a processor.
HERE = [
    row.name
    for row in optimizer_rows()
    if row.recipe == row.name and row.run_by is None and row.name != "adamw_fused"
]
#: An embedding, two matrices of which one is wide, a convolution's and a vector.
SHAPES = ((300, 48), (160, 140), (140, 160), (16, 8, 3, 3), (140,))


def recipe(name: str) -> Recipe:
    return Recipe(strategy="fine_tune", task="causal_lm", precision="fp32", optimizer=name)


def parameters(device: str, dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    found = [torch.nn.Parameter(torch.ones(shape, dtype=dtype, device=device)) for shape in SHAPES]
    setattr(found[0], OUTER, True)
    return found


def with_gradients(found: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    for p in found:
        p.grad = torch.empty_like(p) if p.is_meta else torch.randn_like(p)
    return found


def needs(name: str) -> None:
    row = next(row for row in optimizer_rows() if row.name == name)
    library = (row.library_class or "torch").partition(".")[0]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs {library}")


@pytest.mark.parametrize("name", [n for n in HERE if n != "galore_adamw_8bit"])
def test_the_states_on_the_device_are_those_of_the_real_class(name):
    needs(name)
    real = OPTIMIZERS[name].recorded(parameters("cpu"))
    for _ in range(2):
        for group in real.param_groups:
            with_gradients(group["params"])
        real.step()
    planned = made(parameters("meta"), recipe(name))
    sizes: list[tuple[str, tuple[int, ...], torch.dtype]] = []
    for ours, theirs in zip(planned.state.values(), real.state.values(), strict=True):
        for key, tensor in ours.items():
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                assert theirs[key].shape == tensor.shape and theirs[key].dtype == tensor.dtype
                assert theirs[key].untyped_storage().nbytes() == tensor.untyped_storage().nbytes()
                sizes.append((key, tuple(tensor.shape), tensor.dtype))
    kept = [t for t in state_tensors(planned) if t.is_meta]
    assert len(sizes) == len(kept)
    assert bool(sizes) == (name not in ("sgd", "lomo"))


@pytest.mark.parametrize(
    "name",
    "adamw adamw_for_loop adafactor lamb muon soap galore_adamw apollo_adamw schedule_free_adamw "
    "adan".split(),
)
def test_an_update_allocates_what_the_real_one_does(name):
    needs(name)
    real = OPTIMIZERS[name].recorded(parameters("cpu"))
    for _ in range(3):
        for group in real.param_groups:
            with_gradients(group["params"])
        alive = Alive(rounds=True)
        with alive, torch.no_grad():
            real.step()
    raw = recorded_update([spec(p) for p in with_gradients(parameters("meta"))], recipe(name))
    changes: dict[int, int] = {}
    for shape, itemsize, born, died, *_ in raw.storages:
        if born >= 0:
            size = rounded(int(torch.Size(shape).numel()) * itemsize)
            changes[born] = changes.get(born, 0) + size
            changes[died + 1] = changes.get(died + 1, 0) - size
    now, most = 0, 0
    for _, change in sorted(changes.items()):
        now += change
        most = max(most, now)
    # scalars that lie on the processor in a run on CUDA are few and small
    assert most == pytest.approx(alive.peak, abs=20 * 512) and most > 0


def test_eight_bit_galore_keeps_bytes_of_the_projection():
    (matrix,) = parameters("meta")[1:2]
    kept = made([matrix], recipe("galore_adamw_8bit"))
    sizes = {(tuple(t.shape), t.dtype) for t in state_tensors(kept)}
    assert ((160, 128), torch.uint8) in sizes and ((128, 140), torch.float32) in sizes


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_optimizer_updates_on_meta(name, dtype):
    needs(name) if any(row.name == name for row in optimizer_rows()) else None
    found = with_gradients(parameters("meta", dtype))
    raw = recorded_update([spec(p) for p in found], recipe(name))
    assert raw.operations


def test_every_row_is_built_and_every_entry_has_a_row():
    assert {row.recipe for row in optimizer_rows()} == set(OPTIMIZERS)
    assert set(recipe_names()) == set(asked_names())


def test_names_of_other_tools_mean_one_optimizer_each():
    aliases = [alias for row in optimizer_rows() for alias in row.aliases]
    classes = [name.lower() for row in optimizer_rows() for name in row.classes]
    assert len(set(aliases)) == len(aliases) and len(set(classes)) == len(classes)
    assert not set(aliases) & set(asked_names())


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("torch.optim.adamw.AdamW", "adamw"),
        ("bitsandbytes.optim.adamw.AdamW8bit", "adamw_8bit"),
        ("torchao.prototype.low_bit_optim.AdamW8bit", "adamw_8bit_torchao"),
        ("torch.optim._adafactor.Adafactor", "adafactor_torch"),
        ("transformers.optimization.Adafactor", "adafactor"),
        ("bitsandbytes.optim.rmsprop.RMSprop", "rmsprop_32bit"),
        ("torch.optim.rmsprop.RMSprop", "rmsprop"),
        ("Adam", "adam"),
        ("soap.SOAP", "soap"),
        ("NoSuchThing", None),
    ],
)
def test_a_class_is_known_by_its_package_where_names_are_alike(name, asked):
    assert asked_of_class(name) == asked


def test_the_trainers_names_are_known():
    training_args = pytest.importorskip("transformers.training_args")
    unknown = {"adamw_torch_xla", "adamw_torch_npu_fused", "adamw_anyprecision", "grokadamw",
               "stable_adamw", "galore_adafactor", "galore_adafactor_layerwise"}  # fmt: skip
    names = {one.value for one in training_args.OptimizerNames}
    lost = {name for name in names if asked_as(name) not in asked_names()}
    assert lost == unknown & names
