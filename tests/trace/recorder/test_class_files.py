"""Which files a classifier's traces lie in: one for every number of classes, and those of one class
or of an optimizer that looks at sizes by themselves."""

import importlib.util
import json
from dataclasses import replace

import pytest

from planner.models.resolve import resolve
from planner.trace.source import NotRecordedError, cache_folder, trace_for
from planner.trace.table import CATEGORIES
from planner.training.recipe import Recipe

if not importlib.util.find_spec("transformers"):
    pytest.skip("needs the extra hf", allow_module_level=True)

CONFIG = {
    "model_type": "distilbert",
    "dim": 64,
    "n_layers": 1,
    "n_heads": 2,
    "hidden_dim": 128,
    "vocab_size": 97,
    "architectures": ["DistilBertForSequenceClassification"],
}
CACHED = Recipe(
    "feature_extraction", "text_classification", "fp32", "sgd", variant="cached", classes=5
)
POINT = {"B": 4, "S": 32}


@pytest.fixture
def facts(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return resolve(str(tmp_path))


def endings(source) -> set[str]:
    """Of the files that lie there, between the stem and the versions."""
    files = (cache_folder() / "traces").glob("*.trace")
    return {file.stem.removeprefix(source.stem + "-").rpartition("-")[0] for file in files}


def state_bytes(facts, recipe, classes: int) -> int:
    trace = trace_for(facts, replace(recipe, classes=classes)).at(**POINT)
    sizes = trace.storage_bytes(trace.dims(**POINT))[trace.size]
    return int(sizes[trace.category == CATEGORIES.index("optimizer")].sum())


def test_one_recording_answers_every_number_but_one(facts):
    five = trace_for(facts, CACHED)
    assert five.at(**POINT).meta["trainable_params"] == 64 * 64 + 64 + 5 * 65
    assert endings(five) == {"b2"}
    for classes, number in ((300, 300), (2, 2), (None, 2)):
        trace = trace_for(facts, replace(CACHED, classes=classes), record=False).at(**POINT)
        assert trace.meta["trainable_params"] == 64 * 64 + 64 + number * 65
        assert trace.meta["recipe"].get("classes") == classes and trace.symbols == ("B", "S")
    one = replace(CACHED, classes=1)
    with pytest.raises(NotRecordedError):
        trace_for(facts, one, record=False).at(**POINT)
    assert trace_for(facts, one).at(**POINT).meta["trainable_params"] == 64 * 64 + 64 + 65
    assert endings(five) == {"b2", "b2-c1"}
    assert trace_for(facts, one, record=False).at(**POINT) is not None


def test_an_optimizer_that_looks_at_sizes_is_recorded_for_each_number(facts):
    five = trace_for(facts, replace(CACHED, optimizer="adamw_8bit"))
    five.at(**POINT)
    assert endings(five) == {"b2-c5"}
    for classes in (6, None):
        with pytest.raises(NotRecordedError):
            trace_for(facts, replace(five.recipe, classes=classes), record=False).at(**POINT)
    own = trace_for(facts, replace(five.recipe, classes=None))
    own.at(**POINT)
    assert endings(five) == {"b2-c5", "b2-own"}
    assert trace_for(facts, own.recipe, record=False).at(**POINT).meta["own_classes"] == 2
    # bitsandbytes keeps states below 4096 elements in 32 bits: 63 rows of 64 are fewer, 65 more.
    # Before the head: code books, 4096 weights in 8 bits with their scales, 64 biases in 32 bits.
    before = 2 * 256 * 4 + 2 * (4096 + 16 * 4) + 64 * 8
    assert state_bytes(facts, five.recipe, 63) == before + 63 * 64 * 8 + 63 * 8
    assert state_bytes(facts, five.recipe, 65) == before + 2 * (65 * 64 + 17 * 4) + 65 * 8
