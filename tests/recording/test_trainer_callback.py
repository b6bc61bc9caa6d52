"""Real Trainer runs, recorded end to end; and what a model says of its own run."""

import importlib.util

import pytest

torch = pytest.importorskip("torch")
# importing them unprepared can break torchvision
if not all(importlib.util.find_spec(name) for name in ("transformers", "peft", "accelerate")):
    pytest.skip("needs transformers, peft and accelerate", allow_module_level=True)

from planner.ledger import model_setup  # noqa: E402
from planner.ledger.store import Ledger  # noqa: E402
from planner.libraries import import_library  # noqa: E402

transformers = import_library("transformers", "the tests")
peft = import_library("peft", "the tests")

from planner.recording.trainer_callback import PlannerCallback  # noqa: E402

VOCABULARY, LENGTH = 97, 24


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products on many threads wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gpt2():
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            n_layer=3, n_head=2, n_embd=16, vocab_size=VOCABULARY, n_positions=64
        )
    )


def with_lora(model, **more):
    config = (
        dict(r=4, target_modules=["c_attn", "c_proj"], lora_dropout=0.1, fan_in_fan_out=True) | more
    )
    return peft.get_peft_model(model, peft.LoraConfig(**config))


def sentences(count=40, length=LENGTH):
    ids = torch.randint(0, VOCABULARY, (count, length))
    return [{"input_ids": row, "labels": row} for row in ids]


def trained(model, folder, callback, data=None, **more):
    arguments = (
        dict(
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            max_steps=6,
            logging_steps=2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
            seed=1,
        )
        | more
    )
    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(str(folder), **arguments),
        train_dataset=data or sentences(),
        callbacks=[callback],
        eval_dataset=sentences(8),
    )
    trainer.train()
    return trainer


def read(path):
    with Ledger(path, create=False) as ledger:
        return list(ledger.records())


def test_a_lora_run_is_recorded_end_to_end(tmp_path):
    callback = PlannerCallback(
        {"model": "gpt2", "strategy": "lora"}, tmp_path / "runs.sqlite", classes=None
    )
    trained(
        with_lora(gpt2()),
        tmp_path / "out",
        callback,
        save_strategy="steps",
        save_steps=3,
        eval_strategy="steps",
        eval_steps=3,
    )
    (record,) = read(tmp_path / "runs.sqlite")
    assert (
        record == callback.record
        and record.kind == "recorded"
        and record.source == "transformers.Trainer"
    )
    setup = record.setup
    assert setup["model"] == "gpt2", "the name by which the planner was asked"
    assert {
        name: setup[name]
        for name in (
            "strategy",
            "lora_rank",
            "lora_targets",
            "lora_dropout",
            "micro_batch",
            "accumulation",
            "sequence_length",
        )
    } == dict(
        strategy="lora",
        lora_rank=4,
        lora_targets=["c_attn", "c_proj"],
        lora_dropout=0.1,
        micro_batch=2,
        accumulation=2,
        sequence_length=LENGTH,
    )
    assert {
        name: setup[name]
        for name in (
            "task",
            "precision",
            "gradient_checkpointing",
            "compile",
            "gpus",
            "gpu",
            "steps",
            "samples",
        )
    } == dict(
        task="causal_lm",
        precision="fp32",
        gradient_checkpointing="none",
        compile=False,
        gpus=1,
        gpu="cpu",
        steps=6,
        samples=40,
    )
    assert (
        setup["optimizer"] in ("adamw", "adamw_fused")
        and setup["attention"] == "sdpa"
        and setup["architecture"]["n_layer"] == 3
    )
    assert setup["trainable_params"] < 0.5 * setup["total_params"]
    found = record.measurement
    assert (
        found["steps"] == 6
        and found["tokens"] == 6 * 4 * LENGTH
        and found["samples_seen"] == 24
        and found["out_of_memory"] is False
    )
    assert 0 < found["step_seconds"] and 6 * found["step_seconds_p10"] < found["wall_seconds"]
    assert found["paused_seconds"] > 0, "the evaluation and the checkpoints are no training"
    assert (
        set(found["phase_seconds"]) == {"forward", "backward", "optimizer", "data"}
        and sum(found["phase_seconds"].values()) < 3 * found["step_seconds"]
    )
    assert (
        found["loss_first"] > 0
        and found["loss_last"] > 0
        and record.versions["transformers"]
        and record.machine["cores"] >= 1
    )


def test_the_time_of_evaluation_is_in_no_step(tmp_path, monkeypatch):
    """Evaluation is made to take far longer than the steps: neither they nor the waits for data
    know of it."""
    import time

    evaluate = transformers.Trainer.evaluation_loop
    monkeypatch.setattr(
        transformers.Trainer,
        "evaluation_loop",
        lambda *a, **k: (time.sleep(1.0), evaluate(*a, **k))[1],
    )
    callback = PlannerCallback(None, tmp_path / "l")
    trained(gpt2(), tmp_path / "out", callback, eval_strategy="steps", eval_steps=3)
    found = callback.record.measurement
    assert (
        found["paused_seconds"] >= 2.0
        and found["step_seconds"] < 1.0
        and found["data_seconds"] < 1.0
    )


def test_callbacks_change_nothing_that_is_learnt(tmp_path):
    def weights(callbacks):
        torch.manual_seed(3)
        model = gpt2()
        torch.manual_seed(4)
        data = sentences()
        trained(model, tmp_path / "out", callbacks, data=data)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    class Nothing(transformers.TrainerCallback):
        pass

    assert torch.equal(weights(PlannerCallback(None, tmp_path / "l")), weights(Nothing()))


def test_hooks_do_not_stay_and_a_second_training_is_a_second_run(tmp_path):
    callback, model = PlannerCallback(None, tmp_path / "l"), gpt2()
    for _ in range(2):
        trained(model, tmp_path / "out", callback)
    assert (
        len(read(tmp_path / "l")) == 2 and not model._forward_hooks and not model._forward_pre_hooks
    )
    assert read(tmp_path / "l")[0].setup["strategy"] == "fine_tune"


def test_a_training_that_breaks_off_is_recorded_when_the_next_begins(tmp_path):
    class Stops(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 4:
                raise RuntimeError("the machine is gone")

    callback, model = PlannerCallback(None, tmp_path / "l"), gpt2()
    for stops in (True, False):
        trainer = transformers.Trainer(
            model,
            transformers.TrainingArguments(
                str(tmp_path),
                max_steps=6,
                per_device_train_batch_size=2,
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                save_strategy="no",
            ),
            train_dataset=sentences(),
            callbacks=[callback],
        )
        if stops:
            trainer.add_callback(Stops())
            with pytest.raises(RuntimeError):
                trainer.train()
        else:
            trainer.train()
    first, second = read(tmp_path / "l")
    assert (
        first.measurement["steps"] == 4
        and "broken off after 4 steps" in first.notes
        and second.measurement["steps"] == 6
    )


def test_a_program_that_ends_by_an_error_records_it(tmp_path, monkeypatch):
    """What the interpreter does at its end, with the error that ended it."""
    import sys

    class RunsOut(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    callback = PlannerCallback(None, tmp_path / "l")
    trainer = transformers.Trainer(
        gpt2(),
        transformers.TrainingArguments(
            str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True
        ),
        train_dataset=sentences(),
        callbacks=[callback, RunsOut()],
    )
    with pytest.raises(torch.OutOfMemoryError) as caught:
        trainer.train()
    monkeypatch.setattr(sys, "last_value", caught.value, raising=False)
    callback._broken_off()
    callback._broken_off()
    (record,) = read(tmp_path / "l")
    assert (
        record.measurement["out_of_memory"] is True
        and record.setup["sequence_length"] == LENGTH
        and record.measurement["steps"] == 1
    )


def test_a_ledger_that_fails_does_not_fail_the_training(tmp_path, caplog):
    (tmp_path / "ledger").write_text("not a database " * 100)
    callback = PlannerCallback(None, tmp_path / "ledger")
    trainer = trained(gpt2(), tmp_path / "out", callback)
    assert (
        trainer.state.global_step == 6
        and callback.record is None
        and "was not recorded" in caplog.text
    )


# ---------------------------------------------------------------- what a model says


@pytest.mark.parametrize(
    "trains, strategy, blocks",
    [
        (lambda name: True, "fine_tune", None),
        (
            lambda name: "h.2." in name or "ln_f" in name or "lm_head" in name,
            "partial_fine_tune",
            1,
        ),
        (lambda name: "h.1." in name or "h.2." in name, "partial_fine_tune", 2),
        (lambda name: "ln_f" in name, "feature_extraction", None),
        (lambda name: "h.0." in name, "partial_fine_tune", None),
        (lambda name: "attn" in name, "partial_fine_tune", None),
        (lambda name: False, None, None),
    ],
)
def test_the_strategy_is_told_from_what_trains(trains, strategy, blocks):
    model = gpt2()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains(name))
    setup, _ = model_setup.setup_of_model(model)
    assert setup.get("strategy") == strategy and setup.get("unfrozen_blocks") == blocks


def test_adapters_are_told_by_their_method():
    model = peft.get_peft_model(
        gpt2(),
        peft.IA3Config(target_modules=["c_attn"], feedforward_modules=[], fan_in_fan_out=True),
    )
    setup, _ = model_setup.setup_of_model(model)
    assert (setup["strategy"], setup["adapter"]) == ("lora", "ia3") and "lora_rank" not in setup
    dora, _ = model_setup.setup_of_model(with_lora(gpt2(), use_dora=True))
    assert (dora["strategy"], dora["adapter"]) == ("lora", "dora") and dora["lora_rank"]
    plain, _ = model_setup.setup_of_model(with_lora(gpt2()))
    assert plain["strategy"] == "lora" and "adapter" not in plain


def test_a_method_that_is_not_planned_is_no_strategy_of_the_planner():
    config = peft.VBLoRAConfig(target_modules=["c_attn"], vector_length=16, fan_in_fan_out=True)
    model = peft.get_peft_model(gpt2(), config)
    setup, notes = model_setup.setup_of_model(model)
    assert "strategy" not in setup and "VBLORA" in notes[0]


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda p: torch.optim.AdamW(p), "adamw"),
        (lambda p: torch.optim.AdamW(p, fused=True), "adamw_fused"),
        (lambda p: torch.optim.AdamW(p, foreach=False), "adamw_for_loop"),
        (lambda p: torch.optim.SGD(p, 0.1), "sgd_plain"),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), "sgd"),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.5), None),
        (lambda p: torch.optim.Adam(p), "adam"),
        (lambda p: torch.optim.RMSprop(p), "rmsprop"),
    ],
)
def test_real_optimizers_have_the_questions_names(make, name):
    assert model_setup.optimizer_of(make([torch.nn.Parameter(torch.zeros(2))])) == name


@pytest.mark.parametrize(
    "name, found",
    [
        ("adamw_torch", "adamw"),
        ("adamw_torch_fused", "adamw_fused"),
        ("adamw_bnb_8bit", "adamw_8bit"),
        ("paged_adamw_8bit", "adamw_8bit_paged"),
        ("sgd", "sgd_plain"),
        ("galore_adamw", "galore_adamw"),
        ("adafactor", "adafactor"),
        (None, None),
    ],
)
def test_the_trainers_names_of_optimizers(name, found):
    assert model_setup.optimizer_named(name) == found


@pytest.mark.parametrize(
    "weights, autocast, tf32, found",
    [
        ("float32", None, False, "fp32"),
        ("float32", None, True, "tf32"),
        ("float32", "bf16", True, "amp_bf16"),
        ("bfloat16", "bf16", False, "bf16"),
        ("bfloat16", None, False, "bf16"),
        ("float16", "fp16", False, "fp16"),
        ("float64", None, False, None),
        (None, "bf16", False, None),
    ],
)
def test_number_formats(weights, autocast, tf32, found):
    assert model_setup.precision_of(weights, autocast, tf32) == found


def test_a_question_names_the_model_and_training_from_nothing():
    found = {"model": "GPT2LMHeadModel", "strategy": "fine_tune"}
    assert model_setup.in_words_of({"model": "gpt2", "strategy": "scratch"}, found) == {}
    assert (
        model_setup.in_words_of({"strategy": "lora"}, found)
        == found
        == model_setup.in_words_of(None, found)
    )


def test_a_local_path_leaves_only_the_folders_name(tmp_path):
    folder = tmp_path / "alice" / "my-model"
    gpt2().save_pretrained(folder)
    setup, _ = model_setup.setup_of_model(transformers.GPT2LMHeadModel.from_pretrained(folder))
    assert setup["model"] == "my-model" and "alice" not in str(setup)


def test_images_and_encoder_decoders_are_seen_by_their_shapes():
    from planner.recording.trainer_callback import InputShapes

    images = InputShapes()
    images.see({"pixel_values": torch.zeros(4, 3, 64, 64), "labels": torch.zeros(4)})
    assert images.setup(False) == {"image_size": 64} and images.samples == 4
    pairs = InputShapes()
    pairs.see({"input_ids": torch.zeros(2, 30), "labels": torch.zeros(2, 10)})
    pairs.see({"input_ids": torch.zeros(2, 50), "labels": torch.zeros(2, 20)})
    assert pairs.setup(True) == {"sequence_length": 40, "target_length": 15} and pairs.tokens == 160


class Ticking:
    """A clock that goes on by a second whenever it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def forecasting(ledger, **more):
    said = []
    callback = PlannerCallback(None, ledger, say=said.append, **more)
    callback.forecast.options["clock"] = Ticking()
    return callback, said


def test_a_run_is_stopped_before_a_limit_with_a_checkpoint_and_a_note(tmp_path):
    """A dollar a second: the run of 40 steps is stopped before it has cost 50."""
    callback, said = forecasting(tmp_path / "l", usd_per_hour=3600.0, max_usd=50.0)
    trainer = trained(gpt2(), tmp_path / "out", callback, max_steps=40)
    made = trainer.state.global_step
    assert 4 < made < 40 and (tmp_path / "out" / f"checkpoint-{made}").is_dir()
    lines = [line for line in said if "stopped after" in line]
    assert len(lines) == 1 and f"step {made} of 40" in lines[0] and "--max-usd 50" in lines[0]
    (record,) = read(tmp_path / "l")
    assert record.measurement["steps"] == made and any("stopped after" in n for n in record.notes)
    # the checkpoint, and the looks at the clock around it
    assert callback.forecast.forecast.spent_seconds <= 50.0 + 5.0


def test_a_run_within_its_limit_is_forecast_and_left_alone(tmp_path):
    callback, said = forecasting(tmp_path / "l", usd_per_hour=3600.0, max_usd=5000.0)
    trained(gpt2(), tmp_path / "out", callback, max_steps=12, eval_strategy="steps", eval_steps=4)
    assert said[0].startswith("planner: step 4 of 12:") and not [s for s in said if "stopped" in s]
    assert "3 evaluations still to come" in said[0] and "still to come" not in said[-1]


def test_without_a_plan_a_price_or_a_limit_nothing_is_said(tmp_path):
    callback, said = forecasting(tmp_path / "l")
    trained(gpt2(), tmp_path / "out", callback)
    assert not said and callback.forecast.forecast is None


def test_a_limit_without_a_price_is_refused_before_anything_is_loaded():
    from planner.errors import QuestionError

    with pytest.raises(QuestionError, match="no price an hour"):
        PlannerCallback(max_usd=5.0)
