"""``planner compare``: both sides' figures are those of their own sources and sum; what cannot be
compared is one line."""

import json
import pickle
from pathlib import Path

import pytest

from planner.calibrate.kineto.recorded import recorded
from planner.cli.main import run
from planner.compare.document import compare_trace
from planner.explain.document import explain
from planner.question import Question

DATA = Path(__file__).parents[1] / "data" / "kineto"
H100 = DATA / "h100.json"
ASKED = ["bert-base-uncased", "--samples", "640", "--tokens-per-sample", "64", "--strategy",
         "fine_tune", "--gpu", "h100"]  # fmt: skip
QUESTION = Question(
    model="bert-base-uncased", samples=640, tokens_per_sample=64, strategy=["fine_tune"], gpu="h100"
)


@pytest.fixture(scope="module")
def compared():
    return compare_trace(QUESTION, H100)


def leaves(nodes):
    return sum(node["recorded"] for node in nodes), sum(node["predicted"] for node in nodes)


# ---- a trace


def test_the_planned_side_is_that_of_the_explanation(compared):
    time = explain(QUESTION, changes=False)["time"]
    totals = compared["totals"]
    assert totals["step_seconds"]["predicted"] == pytest.approx(time["seconds"])
    planned = {row["kind"]: row["predicted"] for row in compared["by_kind"] if row["predicted"]}
    assert planned == pytest.approx(time["by_kind"])
    assert totals["waiting_seconds"]["predicted"] == pytest.approx(
        time["waiting_seconds"], abs=1e-9
    )


def test_the_recorded_side_is_that_of_the_trace(compared):
    seen = recorded(H100)
    totals = compared["totals"]
    assert totals["step_seconds"]["recorded"] == pytest.approx(seen.step_seconds)
    assert totals["device_busy_seconds"]["recorded"] == pytest.approx(seen.busy_seconds)
    theirs = {row["kind"]: row["recorded"] for row in compared["by_kind"] if row["recorded"]}
    assert theirs == pytest.approx(seen.by_kind())
    assert "H100" in compared["recorded"]["device"]


def test_every_breakdown_sums_to_the_same_on_both_sides(compared):
    ours = sum(row["predicted"] for row in compared["by_kind"])
    theirs = sum(row["recorded"] for row in compared["by_kind"])
    assert ours == pytest.approx(compared["totals"]["device_busy_seconds"]["predicted"])
    assert ours == pytest.approx(sum(row["predicted"] for row in compared["by_phase"]))
    assert theirs == pytest.approx(sum(row["recorded"] for row in compared["by_phase"]))
    by_module = leaves(compared["modules"]["tree"])
    assert by_module == pytest.approx((theirs, ours))


def test_recorded_modules_are_told_by_the_order_of_what_they_run(compared):
    assert compared["modules"]["told_by"] == "recorded modules"
    names = json.dumps(compared["modules"]["tree"])
    assert "embeddings" in names and "query" in names

    def found(nodes, path):
        for node in nodes:
            if node["path"] == path:
                return node
            if below := found(node["children"], path):
                return below
        return None

    embeddings = found(compared["modules"]["tree"], "bert.embeddings")
    assert embeddings["recorded"] > 0 and embeddings["predicted"] > 0


def test_another_step_is_warned_of(compared):
    assert any("operations of kind matmul" in line for line in compared["warnings"])


def warnings_of(tmp_path, events):
    path = tmp_path / "step.json"
    header = json.loads(H100.read_text())
    path.write_text(json.dumps({**header, "traceEvents": events}))
    return " ".join(compare_trace(QUESTION, path)["warnings"])


def ran(name, start, **args):
    return {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": start, "dur": 5,
            "args": args}  # fmt: skip


def test_attention_in_products_is_said_and_no_sign_of_another_model(tmp_path):
    planned = compare_trace(QUESTION, H100)
    count = {row["kind"]: int(row["predicted_calls"]) for row in planned["by_kind"]}["matmul"]
    names = ["aten::addmm"] * count + ["aten::bmm"] * count
    said = warnings_of(tmp_path, [ran(name, 10 * i) for i, name in enumerate(names)])
    assert "runs attention as one operation, the recorded one as its products" in said
    assert "operations of kind matmul" not in said
    said = warnings_of(tmp_path, [ran(name, 10 * i) for i, name in enumerate(names[: count // 2])])
    assert f"runs {count // 2} operations of kind matmul, ours {count}" in said


def test_another_kind_of_model_is_warned_of(tmp_path):
    said = warnings_of(tmp_path, [ran("aten::convolution", 10 * i) for i in range(40)])
    assert "runs 40 operations of kind convolution, ours 0" in said
    assert "runs 0 operations of kind matmul" in said


def test_what_was_not_recorded_is_warned_of(compared):
    assert "no backward pass and no update was recorded" in compared["warnings"]


@pytest.mark.parametrize(
    "ratio, word",
    [
        (None, "–"),
        (0.0, "–"),
        (0.00123, "0.0012"),
        (0.25, "0.25"),
        (12.345, "12.35"),
        (72345.6, "72.3k"),
    ],
)
def test_a_ratio_is_never_shown_as_nothing(ratio, word):
    from planner.report.views.comparing.page import _ratio

    assert _ratio(ratio) == word


def test_another_device_is_warned_of():
    document = compare_trace(QUESTION.model_copy(update={"gpu": "l4"}), H100)
    assert any("the question of NVIDIA L4" in line for line in document["warnings"])


def test_what_only_one_side_has_is_named(compared):
    forward_only = {row["operation"] for row in compared["only_predicted"]}
    assert any("backward" in name for name in forward_only)
    seen = {row["operation"] for row in compared["only_recorded"]}
    assert not seen & forward_only


def test_without_modules_phases_are_left(tmp_path):
    document = json.loads(H100.read_text())
    document["traceEvents"] = [
        e for e in document["traceEvents"] if e["cat"] != "python_function"
    ]  # fmt: skip
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(document))
    found = compare_trace(QUESTION, path)
    told = found["modules"]
    assert (told["told_by"] is None) == (told["matched_share"] < 0.9)
    assert [row["phase"] for row in found["by_phase"]][:3] == ["forward", "backward", "optimizer"]


# ---- a snapshot


@pytest.fixture
def snapshot(tmp_path):
    """Weights from before, an activation, its gradient."""
    mib = 1 << 20
    line = {"filename": "/home/me/model.py", "line": 7, "name": "forward"}
    engine = {"filename": "??", "line": 0, "name": "torch::autograd::Engine::evaluate_function"}
    events = [
        {"action": "alloc", "addr": 5, "size": 8 * mib, "frames": [line]},
        {"action": "alloc", "addr": 6, "size": 4 * mib, "frames": [engine]},
        {"action": "free_requested", "addr": 5, "size": 8 * mib, "frames": []},
    ]
    blocks = [
        {"address": 1, "size": 100 * mib, "state": "active_allocated", "frames": []},
        {"address": 6, "size": 4 * mib, "state": "active_allocated", "frames": []},
    ]
    segment = {"device": 0, "address": 1, "total_size": 128 * mib, "blocks": blocks}
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(
        pickle.dumps({"segments": [segment], "device_traces": [events], "allocator_settings": {}})
    )
    return path


def test_both_peaks_stand_beside_each_other(snapshot, capsys):
    assert run(["compare", *ASKED, "--snapshot", str(snapshot), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    mib = 1 << 20
    peak = document["totals"]["peak_allocated_bytes"]
    assert peak["recorded"] == 112 * mib
    assert document["totals"]["peak_reserved_bytes"]["recorded"] == 128 * mib
    assert sum(document["recorded_by_origin"].values()) == peak["recorded"]
    assert document["recorded_largest"][1] == {"place": "me/model.py:7 forward", "bytes": 8 * mib}
    whole = explain(QUESTION, changes=False)["memory"]
    assert document["predicted_by_category"] == pytest.approx(
        {k: v for k, v in whole["by_category"].items() if v}
    )
    assert peak["ratio"] == pytest.approx(peak["predicted"] / peak["recorded"])
    first = document["predicted_largest"][0]
    assert first["bytes"] >= document["predicted_largest"][-1]["bytes"] > 0


def test_what_a_hostile_snapshot_says_is_never_run(tmp_path, capsys, monkeypatch):
    import os

    class Runs:
        def __reduce__(self):
            return os.mkdir, ("executed",)

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(pickle.dumps({"segments": [Runs()], "device_traces": []}))
    assert run(["compare", *ASKED, "--snapshot", str(path)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "is no snapshot of plain containers" in err
    assert not (tmp_path / "executed").exists()


# ---- the screen, files, refusals


def test_the_screen_has_both_sides(capsys):
    assert run(["compare", *ASKED, "--trace", str(H100)]) == 0
    out = capsys.readouterr().out
    for text in ("Planned", "Recorded", "Ratio", "by kind of operation", "attention", "by phase"):
        assert text in out
    assert run(["compare", *ASKED, "--trace", str(H100), "--quiet"]) == 0
    assert len(capsys.readouterr().out) < len(out) / 2


def test_a_snapshots_screen_has_both_sides(snapshot, capsys):
    assert run(["compare", *ASKED, "--snapshot", str(snapshot)]) == 0
    out = capsys.readouterr().out
    assert "Peak allocated" in out and "before the recording" in out and "me/model.py:7" in out
    assert "optimizer" in out


def test_it_is_written_to_files(tmp_path, capsys):
    asked = ["compare", *ASKED, "--trace", str(H100), "-o"]
    assert run([*asked, str(tmp_path / "a.json")]) == 0
    assert run([*asked, str(tmp_path / "a.md")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["kind"] == "trace"
    assert "| matmul |" in (tmp_path / "a.md").read_text()


@pytest.mark.parametrize(
    "flags, said",
    [
        ([], "names nothing recorded"),
        (["--trace", str(H100), "--snapshot", "s.pickle"], "Name one, --trace or --snapshot"),
        (["--trace", "none.json"], "no such file"),
        (["--snapshot", "none.pickle"], "no such file"),
        (["--trace", str(DATA)], "is a folder"),
        (["--snapshot", str(DATA)], "is a folder"),
        (["--snapshot", str(H100)], "is no snapshot of plain containers"),
        (["--trace", str(H100), "--device", "gpu1"], "no device of a recording"),
        (["--trace", str(H100), "--device", "cuda:3"], "nothing ran on cuda:3"),
        (["--trace", str(H100), "-o", "a.html"], "no format of a comparison"),
        (["--trace", str(H100), "-o", "nowhere/a.md"], "no such folder"),
    ],
)
def test_what_cannot_be_compared_is_one_line_with_code_2(flags, said, capsys):
    assert run(["compare", *ASKED, *flags]) == 2
    out, err = capsys.readouterr()
    assert not out and said in err and err.count("\n") == 1


def test_a_pickle_of_something_else_is_one_line(tmp_path, capsys):
    path = tmp_path / "snapshot.pickle"
    for value in ([1, 2], {"segments": 3, "device_traces": []}, {"segments": []}):
        path.write_bytes(pickle.dumps(value))
        assert run(["compare", *ASKED, "--snapshot", str(path)]) == 2
        assert "without the segments and device_traces" in capsys.readouterr().err
    path.write_bytes(b"")
    assert run(["compare", *ASKED, "--snapshot", str(path)]) == 2
    assert "the file is empty" in capsys.readouterr().err
