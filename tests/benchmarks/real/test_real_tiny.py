"""Every case with both loops, a few steps of a model of next to nothing: all phases run."""

import json
import math

import pytest

from benchmarks import real_runs
from benchmarks.real import run
from benchmarks.real.cases import CASES, LOOPS, scaled, sized
from benchmarks.real.made_data import make_data
from benchmarks.real.stamps import PHASES


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name == "t5-beams" else name for name in CASES],
)
def test_all_phases_run(name, loop, place):
    out = place / f"{name}-{loop}.json"
    assert run.main([name, loop, "--tiny", "--place", str(place), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    case = sized(name, is_tiny=True)
    assert len(document["steps"]) == case.epochs * math.ceil(case.samples / case.micro_batch)
    seconds = document["seconds"]
    assert list(seconds) == list(PHASES) and all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) == pytest.approx(document["until"] - document["began"])
    moments = [moment for moment, _ in document["events"]]
    assert moments == sorted(moments)
    order = [phase for _, phase in document["events"]]
    first = [order.index(phase) for phase in ("preparation", "training", "evaluation", "saving")]
    assert first == sorted(first)
    assert order.count("evaluation") == order.count("saving") == case.epochs
    # weights, and two moments of each, an epoch
    assert document["checkpoint_bytes"] > case.epochs * 3 * 4 * 1000
    assert "eval_accuracy" in document["evaluation"]


def test_a_run_in_a_process_of_its_own(place):
    seen = real_runs.run(sized("vit", is_tiny=True), "plain", place, is_tiny=True, share=1.0)
    assert sum(seen.phases.values()) == pytest.approx(seen.wall)
    # imports of torch and transformers alone
    assert seen.phases["start_up"] > seen.phases["preparation"]
    assert len(seen.steps) == 8


def test_a_run_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(real_runs, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()  # found first, and holds no run
    with pytest.raises(SystemExit, match="(?s)bert with plain failed.*No module named"):
        real_runs.run(sized("bert", is_tiny=True), "plain", tmp_path, is_tiny=True, share=1.0)


def test_data_is_the_same_every_time(tmp_path):
    case = sized("t5-greedy", is_tiny=True)
    first, second = (make_data(case, tmp_path / part)[0] for part in ("a", "b"))
    assert first.read_text() == second.read_text()
    records = [json.loads(line) for line in first.read_text().splitlines()]
    assert len(records) == case.samples and set(records[0]) == {"text", "summary"}


def test_photos_have_the_sizes_of_photos(tmp_path):
    from PIL import Image

    case = sized("vit", is_tiny=True)
    trained, held_out = make_data(case, tmp_path)
    sizes = [Image.open(file).size for file in sorted(trained.rglob("*.jpg"))]
    assert len(sizes) == case.samples
    assert len(list(held_out.rglob("*.jpg"))) == case.held_out
    assert all(256 <= side <= 500 for size in sizes for side in size)


def test_a_share_of_a_case_keeps_its_batches_full():
    case = scaled(CASES["bert"], 0.001)
    assert case.samples == case.micro_batch and case.held_out == case.evaluation_batch
