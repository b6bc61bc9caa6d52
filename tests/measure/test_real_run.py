"""Real steps on the processor: the strategy is really applied, the model really learns, and what
cannot run says so in one line."""

import importlib.util
import math

import pytest

torch = pytest.importorskip("torch")
if not all(importlib.util.find_spec(name) for name in ("transformers", "timm", "peft")):
    pytest.skip("the model libraries are not installed", allow_module_level=True)

from planner.errors import MachineError, MissingExtraError, ModelError, QuestionError  # noqa: E402
from planner.measure import real_run  # noqa: E402
from planner.measure.real_run import measure, relative_error, time_steps  # noqa: E402
from planner.measure.real_step import RealStep, is_out_of_memory, optimizer_of, prepare  # noqa: E402
from planner.models.facts import ModelFacts, config_fingerprint  # noqa: E402
from planner.models.resolve import resolve  # noqa: E402
from planner.question.optimizers import run_by  # noqa: E402
from planner.training.optimizers import OPTIMIZERS  # noqa: E402
from planner.training.recipe import Recipe  # noqa: E402

SIZES = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
CONFIGS = {
    "llama": dict(
        model_type="llama",
        vocab_size=97,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **SIZES,
    ),
    "bert": dict(
        model_type="bert", vocab_size=97, max_position_embeddings=64, pad_token_id=0, **SIZES
    ),
    "t5": dict(
        model_type="t5",
        vocab_size=97,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    ),
    "bart": dict(
        model_type="bart",
        vocab_size=97,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        pad_token_id=1,
        eos_token_id=2,
    ),
    "wav2vec2": dict(
        model_type="wav2vec2",
        conv_dim=[16, 16],
        conv_stride=[5, 4],
        conv_kernel=[10, 8],
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        vocab_size=32,
        classifier_proj_size=16,
        **SIZES,
    ),
    "whisper": dict(
        model_type="whisper",
        vocab_size=120,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=8,
        max_source_positions=20,
        max_target_positions=32,
        pad_token_id=1,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
    ),
}


def facts(name: str, task: str, modality: str = "text") -> ModelFacts:
    config = CONFIGS[name]
    return ModelFacts(
        name=name,
        origin="folder",
        library="transformers",
        task=task,
        modality=modality,
        config=config,
        fingerprint=config_fingerprint(config),
    )


def recipe(
    strategy="fine_tune", task="causal_lm", precision="fp32", optimizer="adamw", **more
) -> Recipe:
    return Recipe(strategy, task, precision, optimizer, **more)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, task, sizes, more",
    [
        ("llama", "causal_lm", dict(sequence_length=12), {}),
        ("llama", "text_classification", dict(sequence_length=12), dict(classes=3)),
        ("bert", "masked_lm", dict(sequence_length=12), {}),
        ("bart", "text_classification", dict(sequence_length=12), dict(classes=2)),
        ("t5", "seq2seq_lm", dict(sequence_length=12, target_length=6), {}),
        ("wav2vec2", "audio_classification", {}, dict(classes=4, audio_samples=2000)),
        ("whisper", "speech_recognition", dict(sequence_length=6), {}),
    ],
)
def test_every_kind_of_model_trains(name, task, sizes, more):
    run = measure(
        facts(name, task),
        recipe(task=task, **more),
        micro_batch=2,
        seconds=0.05,
        min_steps=3,
        **sizes,
    )
    assert not run.out_of_memory and run.steps >= 3
    assert (
        0 < run.forward_seconds < run.step_seconds
        and run.step_p10_seconds <= run.step_seconds <= run.step_p90_seconds
    )
    assert (
        run.peak_allocated_bytes is None
        and run.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    )
    assert len(run.samples_seconds) == run.steps and run.device_name


@pytest.mark.parametrize(
    "strategy, more",
    [
        ("feature_extraction", {}),
        ("feature_extraction", dict(variant="cached")),
        ("partial_fine_tune", dict(unfrozen_blocks=1)),
        ("lora", dict(lora_rank=4)),
        ("fine_tune", {}),
        ("fine_tune", dict(gradient_checkpointing="full")),
        ("fine_tune", dict(gradient_checkpointing="selective")),
    ],
)
def test_a_step_moves_what_the_strategy_trains_and_nothing_else(strategy, more):
    one = RealStep(
        facts("bert", "text_classification"),
        recipe(strategy, "text_classification", classes=2, **more),
        "cpu",
        micro_batch=2,
        sequence_length=8,
    )
    for group in one.optimizer.param_groups:
        group["lr"], group["weight_decay"] = 0.01, 0.0
    trained = {id(p) for p in one.prepared.trainable}
    before = [(p, p.detach().clone()) for p in one.prepared.module.parameters()]
    one(), one()  # LoRA's second matrix is zero at first: the first one moves in the second step
    moved = {id(p) for p, old in before if not torch.equal(p, old)}
    assert moved <= trained
    # some biases have no gradient: a softmax does not feel the keys'
    assert len(moved) >= 0.8 * len(trained)
    assert all(torch.isfinite(p).all() for p, _ in before)


def test_training_lowers_the_loss():
    one = RealStep(facts("llama", "causal_lm"), recipe(), "cpu", micro_batch=2, sequence_length=8)
    for group in one.optimizer.param_groups:
        group["lr"] = 0.01
    first = one.prepared.forward(one.batch).item()
    for _ in range(20):
        one()
    assert one.prepared.forward(one.batch).item() < 0.7 * first


def test_accumulation_runs_the_forward_pass_as_often():
    calls = []
    one = RealStep(
        facts("llama", "causal_lm"),
        recipe(),
        "cpu",
        micro_batch=1,
        sequence_length=8,
        accumulation=3,
    )
    one.prepared.module.register_forward_hook(lambda *_: calls.append(1))
    marked = []
    one(marked.append)
    assert len(calls) == 3 and marked == ["forward", "end"]
    assert all(p.grad is None for p in one.prepared.trainable)


@pytest.mark.parametrize(
    "precision, weights, logits",
    [
        ("bf16", torch.bfloat16, torch.bfloat16),
        ("amp_bf16", torch.float32, torch.bfloat16),
        ("fp32", torch.float32, torch.float32),
    ],
)
def test_the_precision_is_the_recipes(precision, weights, logits):
    one, seen = (
        RealStep(
            facts("llama", "causal_lm"),
            recipe(precision=precision),
            "cpu",
            micro_batch=1,
            sequence_length=8,
        ),
        [],
    )
    one.prepared.module.lm_head.register_forward_hook(
        lambda module, args, out: seen.append(out.dtype)
    )
    one()
    assert {p.dtype for p in one.prepared.trainable} == {weights} and seen == [logits]


def test_distillation_runs_a_frozen_teacher():
    teacher = facts("bert", "text_classification")
    chosen = recipe("distillation", "text_classification", classes=2, teacher=teacher.fingerprint)
    one = RealStep(teacher, chosen, "cpu", micro_batch=2, sequence_length=8, teacher=teacher)
    before = [p.detach().clone() for p in one.prepared.teacher.parameters()]
    one()
    assert all(torch.equal(a, b) for a, b in zip(before, one.prepared.teacher.parameters()))
    with pytest.raises(QuestionError, match="needs a teacher"):
        measure(teacher, chosen, micro_batch=2, sequence_length=8)


def test_convolutions_lie_as_the_trace_has_them():
    chosen = recipe("feature_extraction", "image_classification", classes=5, image_size=32)
    one = RealStep(resolve("timm:resnet10t"), chosen, "cpu", micro_batch=2)
    assert one.batch["images"].is_contiguous(memory_format=torch.channels_last)
    assert int(one.batch["labels"].max()) < 5 and float(one.batch["images"].std()) == pytest.approx(
        1, abs=0.1
    )


def test_a_factorys_empty_batch_is_filled(tmp_path, monkeypatch):
    (tmp_path / "own_real_model.py").write_text(
        "import torch\n\ndef make():\n    body = torch.nn.Embedding(11, 4)\n"
        "    def batch(B, S):\n        return {'ids': torch.empty((B, S), dtype=torch.int64), "
        "'wanted': torch.empty(B, S, 4)}\n"
        "    return body, batch, lambda module, batch: ((module(batch['ids']) - "
        "batch['wanted']) ** 2).mean()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = measure(
        resolve("own_real_model:make"),
        recipe(task="custom"),
        micro_batch=2,
        sequence_length=3,
        seconds=0.02,
        min_steps=3,
    )
    assert run.steps >= 3
    one = RealStep(
        resolve("own_real_model:make"),
        recipe(task="custom"),
        "cpu",
        micro_batch=64,
        sequence_length=3,
    )
    assert int(one.batch["ids"].max()) == 0 and float(one.batch["wanted"].std()) > 0.5


def test_memory_that_is_not_enough_is_a_result(monkeypatch):
    def too_much(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(real_run, "RealStep", too_much)
    run = measure(
        facts("bert", "masked_lm"), recipe(task="masked_lm"), micro_batch=1, sequence_length=8
    )
    assert run.out_of_memory and run.step_seconds is None and run.steps == 0


def test_really_too_much_memory_on_the_processor():
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**50)
    assert is_out_of_memory(found.value)
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_a_model_that_fails_says_so_in_one_line():
    with pytest.raises(ModelError, match="its own code fails when it is trained") as found:
        measure(
            facts("bert", "masked_lm"),
            recipe(task="masked_lm"),
            micro_batch=1,
            sequence_length=65,
            seconds=0.1,
        )
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "device, error", [("cuda:31", MachineError), ("abacus", QuestionError), ("meta", MachineError)]
)
def test_a_device_that_is_not_there(device, error):
    with pytest.raises(error):
        measure(
            facts("bert", "masked_lm"),
            recipe(task="masked_lm"),
            device,
            micro_batch=1,
            sequence_length=8,
        )


def test_every_optimizer_of_the_recipes_is_known(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "bitsandbytes" else find(name)
    )
    for name in OPTIMIZERS:
        weight = torch.nn.Parameter(torch.ones(4))
        try:
            optimizer = optimizer_of(name, [weight])
        except MissingExtraError:
            assert name in run_by()
            continue
        except QuestionError:  # it is recorded, and run by a library that is not known here
            assert name == "galore_adamw_8bit"
            continue
        for _ in range(2):
            weight.grad = torch.ones(4)
            optimizer.step()
        # Prodigy's first steps are a millionth of its rate
        assert weight.max().item() < 1 or name == "prodigy"
    with pytest.raises(QuestionError):
        optimizer_of("sgdd", [weight])


def test_qlora_without_its_library_is_refused(monkeypatch):
    monkeypatch.setattr(
        "planner.measure.real_step.bitsandbytes",
        lambda purpose: (_ for _ in ()).throw(MissingExtraError("bitsandbytes", "qlora", purpose)),
    )
    with pytest.raises(MissingExtraError, match="bitsandbytes"):
        prepare(facts("llama", "causal_lm"), recipe("qlora", precision="bf16", lora_rank=4), "cpu")


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
def test_qlora_trains_over_the_librarys_own_layers():
    from planner.trace.recorder.regimes import runner_for

    chosen = recipe("qlora", precision="bf16", lora_rank=4)
    one, traced = (
        RealStep(facts("llama", "causal_lm"), chosen, "cpu", micro_batch=2, sequence_length=8),
        runner_for(facts("llama", "causal_lm"), chosen),
    )
    one()
    packed = {name for name, p in one.prepared.module.named_parameters() if p.dtype == torch.uint8}
    assert len(packed) == 14 and one.prepared.total_parameters == traced.prepared.total_parameters
    assert [p.shape for p in one.prepared.trainable] == [p.shape for p in traced.prepared.trainable]


class Clock:
    """A device whose time is what the steps say."""

    def __init__(self, pipelined):
        self.pipelined, self.now, self.waits = pipelined, 0.0, 0

    def mark(self):
        return self.now

    def synchronise(self):
        self.waits += 1

    def seconds(self, start, end):
        return end - start


@pytest.mark.parametrize("pipelined", [True, False])
def test_timing_stops_when_sure_and_leaves_out_the_first_of_a_group(pipelined):
    clock, first = Clock(pipelined), {"wait": -1}

    def step(mark):
        # after a wait the device stands idle until the host comes
        late = pipelined and first["wait"] != clock.waits
        first["wait"] = clock.waits
        clock.now += 0.25 + 5 * late
        mark("forward")
        clock.now += 0.75
        mark("end")

    timed = time_steps(step, clock, seconds=60, min_steps=5)
    assert timed["step_seconds"] == pytest.approx(1) and timed["forward_seconds"] == pytest.approx(
        0.25
    )
    assert timed["step_p90_seconds"] == pytest.approx(1) and timed[
        "relative_error"
    ] == pytest.approx(0, abs=1e-9)
    assert 5 <= timed["steps"] <= 100


def test_the_error_of_a_median():
    torch.manual_seed(0)
    medians, errors = [], []
    for _ in range(300):
        samples = (10 + torch.randn(40)).tolist()
        medians.append(sorted(samples)[20])
        errors.append(relative_error(samples) * 10)
    assert sum(errors) / 300 == pytest.approx(float(torch.tensor(medians).std()), rel=0.15)
    assert relative_error([1.0, 1.0, 1.0]) == math.inf
