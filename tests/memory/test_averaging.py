"""Averages of weights as diffusers and timm keep them, and what they hold."""

import copy
import importlib
from unittest.mock import patch

import pytest
import torch

from planner.answer.estimate import estimate
from planner.errors import QuestionError
from planner.libraries import import_library
from planner.memory.averaging import averaged
from planner.memory.live_bytes import peak_allocated
from planner.memory.peak import replay
from planner.models.resolve import resolve
from planner.operations.averaging import averaging, trained
from planner.operations.registry import cost, kind_of
from planner.question import Question
from planner.question.importers import importer_of
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

POINT = {"B": 2, "S": 64}
WEIGHTS = 124_439_808 * 4  # gpt2 in float32


def trace(**changed):
    recipe = {"strategy": "fine_tune", "task": "causal_lm", "precision": "fp32"}
    changed = recipe | {"optimizer": "adamw_fused"} | changed
    return trace_for(resolve("gpt2", offline=True), Recipe(**changed)).at(**POINT)


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = (torch.nn.Linear(8, 8, bias=False, device="meta") for _ in "ab")


def recorded(step):
    recorder = Recorder(torch.nn.Module())
    with recorder, as_if_on_cuda(CudaLike()):
        step()
    raw = recorder.finish()
    return [raw.signatures[index][0] for index, *_ in raw.operations]


def names(how, count):
    """Of a model with so many equal weights, those of one."""
    found = [signature.op for signature in averaging(trace(), how)]
    return found[: len(found) // sum(w.count for w in trained(trace())) * count]


@pytest.mark.parametrize(("foreach", "how"), [(False, "loop"), (True, "list")])
def test_the_operations_are_those_of_diffusers(foreach, how):
    import_library("diffusers", "averages")
    training_utils = importlib.import_module("diffusers.training_utils")
    model = Small()
    average = training_utils.EMAModel(model.parameters(), foreach=foreach)
    average.shadow_params = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        real = recorded(lambda: average.step(model.parameters()))
    ours = names(how, 2) if how == "loop" else [s.op for s in averaging(trace(), how)]
    assert [name.split(".")[1] for name in ours] == [name.split(".")[1] for name in real]


def test_the_operations_are_those_of_timm():
    import_library("timm", "averages")
    utils = importlib.import_module("timm.utils.model_ema")
    model = Small()
    with patch("torch.Generator"):  # of its rounding, which meta has not
        average = utils.ModelEmaV3(model, foreach=True, stochastic_rounding=False)
    average.module = copy.deepcopy(model)
    real = recorded(lambda: average.apply_update_(model, 0.999))
    ours = [signature.op for signature in averaging(trace(), "lerp")]
    assert [name.split(".")[1] for name in ours] == [
        name.split(".")[1] for name in real if "detach" not in name
    ]


@pytest.mark.parametrize("how", ["loop", "list", "host", "lerp"])
def test_every_weight_that_trains_is_averaged_once(how):
    whole = trace()
    assert sum(w.count for w in trained(whole)) == 148
    done = averaging(whole, how)
    assert all(kind_of(signature.op).runs_kernel for signature in done)
    dims = whole.dims(**POINT)
    moved = sum(float(cost(s, dims).read_bytes + cost(s, dims).write_bytes) for s in done)
    # differences read twice and written, scaled, taken off; in one operation read twice and written
    passes = {"loop": 8, "list": 6, "lerp": 3, "host": 10}[how]
    assert moved == pytest.approx(passes * WEIGHTS, rel=0.01)


@pytest.mark.parametrize(("how", "copies"), [("loop", 1), ("list", 1), ("lerp", 1), ("host", 0)])
def test_the_average_is_as_large_as_the_weights_and_lasts(how, copies):
    plain = trace()
    kept = averaged(plain, how)
    before, after = replay(plain, POINT), replay(kept, POINT)
    grown = after.allocated_bytes - before.allocated_bytes
    if before.phase != "optimizer" and how in ("loop", "lerp"):
        assert grown == pytest.approx(copies * WEIGHTS, rel=0.01)
    assert grown >= copies * WEIGHTS * 0.99
    grid = peak_allocated(kept, kept.dims(**POINT)) - peak_allocated(plain, plain.dims(**POINT))
    assert int(grid) == pytest.approx(grown, rel=0.05, abs=2**22)
    assert averaged(plain, how) is kept


def test_adapters_alone_are_averaged_where_they_alone_train():
    kept = averaged(trace(strategy="lora", lora_rank=8), "lerp")
    grown = kept.storage_bytes(kept.dims(**POINT))[kept.size][len(kept.birth) - 10 :]
    assert grown.sum() < WEIGHTS / 100


ASKED = {
    "samples": 2000,
    "tokens_per_sample": 256,
    "strategy": ["fine_tune"],
    "gpu": "a100-sxm-80",
    "micro_batch": 4,
}


def answered(**fields):
    document = estimate(Question(model="gpt2", **ASKED | fields))
    return document["options"][0], [line["text"] for line in document["first_lines"]]


def test_an_average_takes_time_as_often_as_it_is_updated_and_is_said():
    always, lines = answered(ema="lerp")
    seldom, told = answered(ema="lerp", ema_every=32)
    assert any("updated at every step, in one operation" in line for line in lines)
    assert any("updated every 32 steps" in line for line in told)
    each, less = (
        option["run"]["of_which_hours"]["training"]["averaging"] for option in (always, seldom)
    )
    assert each == pytest.approx(32 * less, rel=1e-6) and less > 0
    assert always["memory"]["allocated_bytes"] == seldom["memory"]["allocated_bytes"]
    assert always["training"]["ema"] == "lerp" and seldom["training"]["ema_every"] == 32


def test_what_excludes_an_average_is_refused():
    with pytest.raises(QuestionError, match="updated on the host"):
        answered(ema="loop", offload="optimizer")


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"use_ema": True}, "loop"),
        ({"use_ema": True, "foreach_ema": True}, "list"),
        ({"use_ema": True, "foreach_ema": True, "offload_ema": True}, "host"),
        ({"foreach_ema": True}, None),
        ({"use_ema": False}, None),
    ],
)
def test_diffusers_keys_say_it(keys, word):
    document = {
        "(script)": "train_text_to_image.py",
        "pretrained_model_name_or_path": "CompVis/stable-diffusion-v1-4",
        "dataset_name": "lambdalabs/naruto-blip-captions",
    }
    found = importer_of(document | keys).read(document | keys, 1)
    assert found.values.get("ema") == word
    assert not [one for one in found.fates if "ema" in one.key and one.fate == "cannot be asked"]
