"""The program that times the planner: its cases are valid, what it sees is what happened, and a
broken bar shows."""

import json
import sys
from dataclasses import replace

import pytest

from benchmarks import planning_speed
from benchmarks.planning_speed import Timing
from benchmarks.speed import cases, processes
from planner.models.resolve import resolve


def test_odd_models_are_odd_and_valid():
    for seed in range(50):
        config = cases.never_seen_config(seed)
        assert (
            config["num_hidden_layers"] == 32
            and config["hidden_size"] == config["num_attention_heads"] * config["head_dim"]
        )
        assert (
            config["num_attention_heads"] % config["num_key_value_heads"] == 0
            and config["head_dim"] % 2 == 0
        )
    assert cases.never_seen_config(1) == cases.never_seen_config(1) != cases.never_seen_config(2)


@pytest.mark.parametrize(
    ("config", "layers", "billions"),
    [(cases.llama_405b_config, 126, 405.853), (cases.mixture_config, 61, 671.026)],
)
def test_the_large_configurations_are_the_published_ones(config, layers, billions, tmp_path):
    """The total that the hub's page states, to its last digit shown."""
    (tmp_path / "config.json").write_text(json.dumps(config(0)))
    facts = resolve(str(tmp_path))
    assert facts.config is not None and facts.config["num_hidden_layers"] == layers
    if facts.parameters is not None:
        assert facts.parameters / 1e9 == pytest.approx(billions, abs=5e-4)


def test_a_case_with_a_configuration_asks_for_a_folder_of_its_own(tmp_path):
    case = planning_speed.BY_NAME["never_seen"]
    asked = case.asked(tmp_path, 3)
    assert asked[:2] == ("estimate", str(tmp_path / "model")) and "fine_tune" in asked
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == cases.never_seen_config(
        3
    )
    assert not case.light and planning_speed.BY_NAME["classes_bert"].light


def test_a_process_is_timed_with_its_memory_and_its_end():
    done = processes.measure(
        [
            sys.executable,
            "-c",
            "import sys; x = bytearray(60 << 20); print('bad', file=sys.stderr); sys.exit(3)",
        ],
        {},
    )
    assert (
        done.seconds > 0
        and done.peak_rss_bytes > 60 << 20
        and (done.exit_code, done.complaint) == (3, "bad")
    )


def test_heavy_imports_are_seen(monkeypatch):
    monkeypatch.setattr(processes, "MAIN", "import planner, numpy")
    monkeypatch.setattr(processes, "HEAVY", ("numpy", "torch"))
    assert processes.heavy_imports((), {}) == ["numpy"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_children_counts(monkeypatch):
    child = "import time; x = bytearray(80 << 20); time.sleep(0.4)"
    parent = f"import planner, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    monkeypatch.setattr(processes, "MAIN", parent)
    seen = processes.watch((), {})
    assert seen.exit_code == 0 and 80 << 20 < seen.peak_bytes < 400 << 20


def test_a_broken_limit_shows(capsys):
    good = Timing("shipped", 0.4, 0.4, 0.4, 0.4, 3, 1 << 20, 0.5, 0, heavy=(), light=True)
    slow = replace(good, seconds=0.7)
    failed = Timing("grid", 0.1, 0.1, 0.1, 0.1, 1, 1 << 20, 2.0, 2, "no model")
    large = replace(good, peak_rss_bytes=1_500_000_000)
    heavy = replace(good, heavy=("torch",))
    allowed = replace(heavy, light=False, limit_seconds=None)
    assert [t.broken for t in (good, slow, failed, large, heavy, allowed)] == [
        [],
        ["time"],
        ["failed"],
        ["memory"],
        ["imports"],
        [],
    ]
    planning_speed.print_table([good, slow, failed, large, heavy, allowed])
    out = capsys.readouterr().out
    assert out.count("BROKEN") == 4 and "no model" in out
    assert out.splitlines()[-1].endswith("none may be: torch")


def test_a_process_that_was_not_seen_says_so(capsys):
    unseen = Timing("grid", 0.1, 0.1, 0.1, 0.1, 1, 1 << 20, 2.0, 0)
    planning_speed.print_table([unseen])
    row = capsys.readouterr().out.splitlines()[3].split()
    assert row[0] == "grid" and "?" in row
