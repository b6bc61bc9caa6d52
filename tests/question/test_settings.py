"""The registry of settings: it agrees with what stands on it, and a setting that is added to it
from outside goes all the way from a log to a view."""

import dataclasses
import json
import types
import typing
from types import SimpleNamespace

import pytest

from planner.errors import ProfileError, UnknownNameError
from planner.ledger.export import as_csv
from planner.ledger.importers import reading
from planner.ledger.record import RunRecord
from planner.ledger.store import Ledger
from planner.ledger.values import HOLDS
from planner.question import TRAINING_STRATEGIES, Question
from planner.question.fields import choices
from planner.question.settings import LORA, SETTINGS, TrainingSetting, asked, published
from planner.question.setup import Setup, TracedSettings, asked_values, for_record
from planner.report.views.runs import details
from planner.training.recipe import recipe_of
from planner.training.registry import registry

TYPES = {
    "text": str,
    "strategy": str,
    "flag": bool,
    "count": int,
    "whole": int,
    "positive": float,
    "amount": float,
    "names": tuple,
    "object": dict,
}
BUCKET = TrainingSetting(
    name="bucket_size",
    value_type="count",
    unit="bytes",
    label="gradient bucket",
    names=(("transformers", "ddp_bucket_bytes"), ("trainer_state", "bucket")),
    question=False,
    published=False,
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(SETTINGS, BUCKET.name, BUCKET)


# ---------------------------------------------------------------- what stands on it


def test_a_setup_has_a_field_of_the_right_type_for_every_setting():
    hints = typing.get_type_hints(Setup)
    assert set(hints) == set(SETTINGS)
    for name, setting in SETTINGS.items():
        parts = typing.get_args(hints[name])
        union = typing.get_origin(hints[name]) in (typing.Union, types.UnionType)
        found = next(part for part in parts if part is not type(None)) if union else hints[name]
        assert (typing.get_origin(found) or found) is TYPES[setting.value_type], name
        assert name == setting.name and (setting.value_type in HOLDS or setting.flag), name


@pytest.mark.parametrize("setting", asked(), ids=lambda setting: setting.name)
def test_a_question_says_of_a_setting_what_the_registry_says(setting):
    field = Question.model_fields[setting.name]
    assert setting.words and field.description == setting.words
    # a question may leave it to the planner (auto), and may have words of its own
    allowed = {setting.recipe_names.get(name, name) for name in choices(field.annotation)}
    assert set(setting.choices) - set(setting.recipe_names) <= allowed


def test_settings_name_strategies_that_are_there():
    assert {strategy.name for strategy in registry().values() if strategy.uses_lora} == set(LORA)
    for setting in SETTINGS.values():
        assert set(setting.strategies) <= set(TRAINING_STRATEGIES)


def test_no_tool_calls_two_settings_alike():
    called = [name for setting in SETTINGS.values() for name in setting.names]
    assert len(called) == len(set(called))


# ---------------------------------------------------------------- from a setup to a recipe


def settled(**more):
    values = {"strategy": "lora", "task": "causal_lm", "precision": "bf16", "optimizer": "adamw"}
    return TracedSettings(**values | more)


def test_a_recipe_holds_only_what_its_strategy_and_task_use():
    more = {"lora_rank": 8, "unfrozen_blocks": 2, "classes": 10, "image_size": 96}
    assert recipe_of(settled(**more)) == recipe_of(settled(lora_rank=8))
    assert recipe_of(settled(**more)).lora_rank == 8
    scratch = recipe_of(settled(strategy="scratch", **more))
    assert scratch == recipe_of(settled(strategy="fine_tune"))
    assert recipe_of(settled(strategy="partial_fine_tune", **more)).unfrozen_blocks == 2


def test_equal_work_has_an_equal_key():
    image = settled(strategy="fine_tune", task="image_classification", image_size=224)
    plain = dataclasses.replace(image, image_size=None)
    assert recipe_of(image, 224).key() == recipe_of(plain, 224).key() == recipe_of(plain).key()
    assert recipe_of(image, 96).image_size == 224 and recipe_of(image).image_size == 224
    assert recipe_of(settled(lora_targets=["q", "v"])) == recipe_of(
        settled(lora_targets=("q", "v"))
    )
    assert recipe_of(settled(lora_targets=[])).lora_targets is None


def test_a_strategy_that_trains_nothing_has_no_recipe():
    with pytest.raises(UnknownNameError, match="strategy"):
        recipe_of(settled(strategy="prompting"))


def test_a_questions_words_become_a_recipes():
    said = asked_values(
        Question(model="m", samples=1, optimizer="sgd", attention="flash", lora_rank=4)
    )
    assert (said["optimizer"], said["attention"], said["lora_rank"]) == ("sgd_momentum", "sdpa", 4)
    assert "strategy" not in said and "gpus" not in said


def test_channels_last_is_what_a_recipe_means_where_it_says_nothing():
    image = {"task": "image_classification", "strategy": "fine_tune"}
    plain = recipe_of(settled(**image))
    assert recipe_of(settled(memory_format="channels_last", **image)) == plain
    turned = recipe_of(settled(memory_format="contiguous", **image))
    assert turned.memory_format == "contiguous" and turned.key() != plain.key()


def test_a_record_holds_what_is_known_of_a_setup():
    setup = Setup(
        **dataclasses.asdict(
            settled(lora_targets=("q",), lora_dropout=0.0, memory_format="contiguous")
        ),
        model="m",
        gpu="t4",
        micro_batch=2,
    )
    held = for_record(setup)
    assert held["lora_targets"] == ["q"] and held["lora_dropout"] == 0.0
    assert "lora_rank" not in held and "memory_format" not in held
    assert RunRecord.new("recorded", "x", held, {"step_seconds": 1.0}).setup == held


# ---------------------------------------------------------------- one more, from outside


def of_wandb(folder):
    """A run's folder as W&B writes it: the Trainer's arguments as JSON, which is YAML."""
    folder.mkdir()
    arguments = {"ddp_bucket_bytes": 2**21, "per_device_train_batch_size": 8}
    config = {name: {"value": value} for name, value in arguments.items()}
    (folder / "config.yaml").write_text(json.dumps(config))
    summary = {"train_runtime": 30.0, "train/global_step": 10, "_runtime": 31.0}
    (folder / "wandb-summary.json").write_text(json.dumps(summary))
    return folder


def of_trainer(folder):
    folder.mkdir()
    state = {"global_step": 10, "max_steps": 10, "bucket": 2**21, "train_batch_size": 8}
    history = [{"train_runtime": 30.0, "step": 10}]
    (folder / "trainer_state.json").write_text(json.dumps(state | {"log_history": history}))
    return folder


@pytest.mark.parametrize("log", [of_wandb, of_trainer])
def test_a_new_setting_goes_from_a_log_through_the_ledger_to_table_and_view(log, toy, tmp_path):
    (record,) = reading.read(log(tmp_path / "run")).records
    assert record.setup["bucket_size"] == 2**21 and record.setup["micro_batch"] == 8
    with Ledger(tmp_path / "runs.sqlite") as ledger:
        ledger.append(record)
        (kept,) = ledger.records()
    header = as_csv([kept]).splitlines()[0].split(",")
    assert (
        header.index("micro_batch") < header.index("bucket_size") < header.index("measured_steps")
    )
    (said,) = [section for section in details(kept) if section.title == "What was run"]
    assert ("gradient bucket", "2.00 MiB") in said.pairs


def test_without_its_entry_it_is_not_understood(tmp_path):
    (record,) = reading.read(of_wandb(tmp_path / "run")).records
    assert "bucket_size" not in record.setup


def test_a_new_setting_is_checked_in_a_record_and_read_from_a_mapped_column(toy, tmp_path):
    with pytest.raises(ProfileError, match="at least 1"):
        RunRecord.new("recorded", "x", {"bucket_size": 0}, {"step_seconds": 1.0})
    table = tmp_path / "runs.csv"
    table.write_text("step_seconds,cap\n0.5,1024\n")
    (record,) = reading.read(table, mapping=["bucket_size=cap"]).records
    assert record.setup == {"bucket_size": 1024}


def test_a_new_setting_is_a_flag_of_the_import(toy):
    from planner.cli.commands.runs_import import _setup_options

    options = _setup_options(lambda: None).__click_params__
    (flag,) = [option for option in options if option.name == "bucket_size"]
    assert flag.opts == ["--bucket-size"] and flag.type.name == "integer"


def test_a_new_setting_is_seen_by_the_trainers_callback(toy):
    callback = pytest.importorskip("planner.recording.trainer_callback")
    arguments = SimpleNamespace(
        bf16=True,
        fp16=False,
        tf32=False,
        world_size=1,
        n_gpu=1,
        max_steps=-1,
        num_train_epochs=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=3,
        gradient_checkpointing=False,
        ddp_bucket_bytes=512,
    )
    found = callback.setup_of_arguments(arguments, {"precision_of_weights": "float32"})
    assert found == {
        "precision": "amp_bf16",
        "micro_batch": 4,
        "accumulation": 3,
        "compile": False,
        "gpus": 1,
        "epochs": 2,
        "gradient_checkpointing": "none",
        "bucket_size": 512,
    }


def test_the_published_table_has_its_columns():
    from planner import tables
    from planner.validate.cases import COLUMNS

    row = next(iter(tables.rows("measured", "published.csv")))
    assert tuple(row) == COLUMNS and {setting.column for setting in published()} <= set(row)
