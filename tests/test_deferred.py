"""Modules that wait for their first use: nothing notices but the clock."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from planner.deferred import deferred


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package ``heavy_one`` with a function, a class and a submodule."""
    folder = tmp_path / "heavy_one"
    folder.mkdir()
    (folder / "__init__.py").write_text("class Thing: pass\n\ndef double(x): return 2 * x\n")
    (folder / "below.py").write_text("def triple(x): return 3 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "heavy_one"
    for name in [name for name in sys.modules if name.partition(".")[0] == "heavy_one"]:
        del sys.modules[name]


def test_names_load_their_module_when_they_are_used(package):
    with deferred(package):
        from heavy_one import Thing, double  # pyright: ignore[reportMissingImports]
        from heavy_one.below import triple  # pyright: ignore[reportMissingImports]

        assert not isinstance(3, Thing)
    assert package not in sys.modules
    assert double(2) == 4
    assert triple(2) == 6
    import heavy_one  # pyright: ignore[reportMissingImports]

    class Derived(Thing):
        pass

    assert issubclass(Derived, heavy_one.Thing)
    assert isinstance(Derived(), Thing)


def test_a_call_within_loads_the_real_module(package):
    with deferred(package):
        from heavy_one import double  # pyright: ignore[reportMissingImports]

        assert double(4) == 8
        assert sys.modules[package].double(1) == 2


def test_what_is_loaded_already_stays(package):
    import heavy_one  # pyright: ignore[reportMissingImports]

    with deferred(package):
        assert sys.modules[package] is heavy_one
    assert sys.modules[package] is heavy_one


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "peft")), reason="extra hf"
)
def test_no_compiler_is_loaded_for_a_recording_and_one_works_after_it(tmp_path):
    config = {
        "model_type": "llama",
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "hidden_size": 64,
        "intermediate_size": 176,
        "vocab_size": 997,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    script = f"""
import sys
from planner.models.resolve import resolve
from planner.trace.recorder.regimes import record_regime
from planner.training.recipe import Recipe
facts = resolve({str(tmp_path)!r})
for strategy, policy in (("fine_tune", "none"), ("fine_tune", "full"), ("lora", "full")):
    recipe = Recipe(strategy=strategy, task=facts.task, precision="bf16", optimizer="adamw",
                    gradient_checkpointing=policy, lora_rank=8 if strategy == "lora" else None)
    record_regime(facts, recipe, None, "b2", 64, None)
heavy = [n for n in ("torch._dynamo", "torch._inductor", "scipy.optimize") if n in sys.modules]
assert not heavy, heavy
import torch
ones = torch.ones(2, requires_grad=True)
optimizer = torch.optim.AdamW([ones])
compiled = torch.compile(lambda x: 2 * x, backend="eager")
compiled(ones).sum().backward()
optimizer.step()
assert torch._dynamo.config.error_on_nested_fx_trace in (True, False)
print(compiled(torch.ones(3)).tolist())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[-2] == "[2.0, 2.0, 2.0]"


def test_a_stand_in_stays_where_its_package_was_looked_for(package):
    with deferred(f"{package}.below"):
        import heavy_one.below  # pyright: ignore[reportMissingImports]
    assert f"{package}.below" not in sys.modules
    assert heavy_one.below.triple(2) == 6
    assert sys.modules[f"{package}.below"].triple is heavy_one.below.triple


def test_sizes_without_symbols_are_answered_without_sympy():
    """As torch answers them."""
    script = """
import sys
import torch
from planner.deferred import PLAIN, SYMBOLS, VALUES, deferred
with deferred(SYMBOLS, "sympy", "torch.utils._sympy", "torch.distributed.tensor"):
    from torch.fx.experimental import symbolic_shapes as light
    from torch.distributed.tensor import Shard
    from torch.utils._sympy.functions import Max
    names = [name.rpartition(".")[2] for name in PLAIN if name.startswith(SYMBOLS)]
    asked = {name: (True, False) if name in ("sym_and", "sym_or") else (True,) for name in names}
    asked |= {"sym_eq": ((2, 3), (2, 3)), "guard_int": (3,), "is_nested_int": (3,)}
    asked["free_unbacked_symbols"] = (torch.ones(2, device="meta"),)
    answers = {name: getattr(light, name)(*values) for name, values in asked.items()}
    assert Max(3, 4) == 4 and not light.sym_eq((2, 3), (2, 4))
    second = Shard(1)
    assert "sympy" not in {n for n, m in sys.modules.items() if hasattr(m, "Integer")}
    assert answers == {n: getattr(light, n)._real()(*values) for n, values in asked.items()}
assert second.dim == 1 and Max(3, 4) == 4
assert light.sym_eq((2, 3), (2, 3)) is True
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="extra hf")
def test_one_scan_finds_what_transformers_finds():
    script = """
import pathlib
from planner.libraries import import_library
folder = pathlib.Path(import_library("transformers", "a test").__file__).parent / "models"
from transformers.utils import import_utils
mended = import_utils.create_import_structure_from_path(folder)
assert mended is import_utils.create_import_structure_from_path(str(folder / "__init__.py"))
source = pathlib.Path(import_utils.__file__).read_text()
plain = {"__name__": import_utils.__name__, "__package__": "transformers.utils"}
exec(compile(source, import_utils.__file__, "exec"), plain)
assert len(mended) > 100 and mended == plain["create_import_structure_from_path"](folder)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("transformers", "torchvision")),
    reason="extras hf and vision",
)
def test_models_of_torchvision_come_after_those_of_transformers():
    script = """
import sys
from planner.libraries import import_library
import_library("transformers", "a test").modeling_utils
import torchvision
assert "torchvision.models" not in sys.modules
weights = torchvision.models.alexnet(num_classes=3).classifier[6].weight
assert tuple(weights.shape) == (3, 4096)
models = import_library("torchvision", "a test").models
assert models is sys.modules["torchvision.models"] and models.detection.fasterrcnn_resnet50_fpn
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_decorated_class_stays_a_class():
    script = """
from planner.deferred import COMPILER, deferred
with deferred(*COMPILER):
    from torch._dynamo import allow_in_graph, disable
    @allow_in_graph
    class Block: pass
    assert isinstance(Block, type) and Block | int
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
