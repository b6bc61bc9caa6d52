"""Settings around a step in other tools' words: clipping."""

import pytest

from planner.question import Question
from planner.question.importers import importer_of
from planner.question.importers.keys import CANNOT_BE_ASKED

TUNE = {
    "model": {"_component_": "torchtune.models.llama3_2.llama3_2_1b"},
    "tokenizer": {},
    "loss": {},
}
BASE = {"model_name_or_path": "gpt2", "per_device_train_batch_size": 2}


@pytest.mark.parametrize(
    ("document", "norm"),
    [
        (TUNE | {"clip_grad_norm": 0.5}, 0.5),
        (TUNE | {"clip_grad_norm": None}, None),
        ({"zero_optimization": {"stage": 0}, "gradient_clipping": 0.3}, 0.3),
        ({"zero_optimization": {"stage": 0}, "gradient_clipping": "auto"}, None),
        ({"trainer": {"gradient_clip_val": 2}, "model": {}}, 2),
        (BASE | {"max_grad_norm": 0}, 0),
    ],
)
def test_the_norm_that_gradients_are_clipped_at_is_the_question_s(document, norm):
    found = importer_of(document).read(document, 1)
    assert found.values.get("max_grad_norm") == norm
    assert not [one.key for one in found.of(CANNOT_BE_ASKED) if "clip" in one.key]
    Question(**{"model": "gpt2", "samples": 10, "tokens_per_sample": 8, "max_grad_norm": norm})


def test_clipping_each_value_is_another_thing():
    document = {"trainer": {"gradient_clip_val": 2, "gradient_clip_algorithm": "value"}}
    found = importer_of(document).read(document, 1)
    assert [one.key for one in found.of(CANNOT_BE_ASKED)] == ["trainer.gradient_clip_algorithm"]


def zero(stage, **parts):
    return {"zero_optimization": {"stage": stage} | {f"offload_{k}": v for k, v in parts.items()}}


CPU, DISK = {"device": "cpu", "pin_memory": True}, {"device": "nvme"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (zero(1, optimizer=CPU), ["optimizer"]),
        (zero(2, optimizer=CPU), ["optimizer", "gradients"]),
        (zero(3, optimizer=CPU, param=CPU), ["optimizer", "gradients", "weights"]),
        ({"zero_optimization": {"stage": 2, "cpu_offload": True}}, ["optimizer", "gradients"]),
        (
            {
                "compute_environment": "LOCAL_MACHINE",
                "distributed_type": "DEEPSPEED",
                "num_processes": 1,
                "deepspeed_config": {"zero_stage": 2, "offload_optimizer_device": "cpu"},
            },
            ["optimizer", "gradients"],
        ),
        (
            TUNE | {"optimizer": {"_component_": "torchao.optim.CPUOffloadOptimizer"}},
            ["optimizer"],
        ),
        (
            TUNE
            | {
                "optimizer": {
                    "_component_": "torchao.prototype.low_bit_optim.CPUOffloadOptimizer",
                    "offload_gradients": True,
                    "optimizer_class": "torch.optim.AdamW",
                }
            },
            ["optimizer", "gradients"],
        ),
    ],
)
def test_what_is_offloaded_on_one_device_is_the_question_s(document, words):
    found = importer_of(document).read(document, 1)
    assert found.values["offload"] == words
    assert not found.left_out
    asked = Question(model="gpt2", samples=10, tokens_per_sample=8, offload=words)
    assert asked.offload == words


@pytest.mark.parametrize(
    ("document", "gpus", "left_out"),
    [
        (zero(2, param=CPU, optimizer=CPU), 4, {"offload_param.device"}),
        (zero(3, optimizer=DISK), 1, {"offload_optimizer.device", "stage"}),
        (zero(3, param=CPU), 1, {"offload_param.device", "stage"}),
        (zero(3, optimizer=CPU, param=DISK), 1, {"offload_param.device"}),
        (zero(2, optimizer={"device": "none"}), 1, {"stage"}),
    ],
)
def test_what_is_offloaded_otherwise_is_left_out(document, gpus, left_out):
    found = importer_of(document).read(document, gpus)
    keys = {one.key.removeprefix("zero_optimization.") for one in found.of(CANNOT_BE_ASKED)}
    assert keys == left_out
