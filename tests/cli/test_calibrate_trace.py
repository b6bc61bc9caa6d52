"""``planner calibrate --trace``: a step recorded here and excerpts of real ones become profiles
that estimates stand on; what cannot be used is one line."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from planner.calibrate.importers import kineto  # noqa: E402
from planner.calibrate.importers.recorded_words import doubts  # noqa: E402
from planner.calibrate.kineto.order import OwnStep  # noqa: E402
from planner.calibrate.kineto.recorded import recorded  # noqa: E402
from planner.calibrate.kineto.units import communicates  # noqa: E402
from planner.cli import main  # noqa: E402
from planner.devices import profile  # noqa: E402
from planner.errors import PlannerError  # noqa: E402
from planner.operations.cases import from_dict  # noqa: E402
from planner.question import Question  # noqa: E402

DATA = Path(__file__).parents[1] / "data" / "kineto"
H100, MI300X = DATA / "h100.json", DATA / "mi300x.json"


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.qkv = torch.nn.LayerNorm(width), torch.nn.Linear(width, 3 * width)
        self.up, self.down = torch.nn.Linear(width, 2 * width), torch.nn.Linear(2 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        heads = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + heads.transpose(1, 2).reshape(b, t, c)
        return x + self.down(torch.nn.functional.gelu(self.up(x)))


class Model(torch.nn.Module):
    def __init__(self, width=64, words=300):
        super().__init__()
        self.words = torch.nn.Embedding(words, width)
        self.blocks = torch.nn.Sequential(Block(width), Block(width))
        self.head = torch.nn.Linear(width, words, bias=False)

    def forward(self, ids):
        return self.head(self.blocks(self.words(ids)))


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Three steps of a small model, recorded by torch.profiler on the processor."""
    from torch.profiler import ProfilerActivity, profile, schedule

    path = tmp_path_factory.mktemp("recorded") / "step.json.gz"
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(0, 300, (2, 32))
    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        profile_memory=True,
        with_modules=True,
        schedule=schedule(wait=0, warmup=1, active=3),
        on_trace_ready=lambda p: p.export_chrome_trace(str(path)),
    ) as profiler:
        for _ in range(4):
            scores = model(ids).view(-1, 300)
            torch.nn.functional.cross_entropy(scores, ids.view(-1)).backward()
            optimizer.step()
            optimizer.zero_grad()
            profiler.step()
    return path


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path / "own"))

    def call(*arguments):
        code = main.run(["calibrate", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


# ---- a step recorded here


def test_a_step_recorded_here_becomes_a_profile(planner, trace, tmp_path):
    out = tmp_path / "cpu.json"
    code, text, err = planner("--trace", trace, "--gpu", "local", "--out", out)
    assert code == 0 and not err
    lines = text.splitlines()
    assert lines[0].startswith("Understood ") and "(3 recorded)" in lines[1]
    # the medians of a busy machine, and what is missing, have lines of their own before it
    assert any(line.startswith("Host costs are not taken") for line in lines)
    made = profile.load(out)
    assert made.device["kind"] == "cpu" and not made.host
    assert made.facts[profile.RECORDED_STEPS] == 3
    kinds = {family.partition(".")[0] for family in made.curves}
    assert kinds >= {"matmul", "attention", "optimizer", "normalization", "embedding", "softmax"}


def test_every_second_of_its_operations_is_accounted_for(trace):
    made = kineto.import_traces([trace], "local", trace.with_name("a.json"))
    reading, seen = made.reading, recorded(trace)
    assert reading.understood_share >= 0.9 and reading.steps == 3
    units = sum(unit.seconds for _, unit in seen.units) / 3
    assert reading.computed_seconds == pytest.approx(units)
    assert sum(reading.by_kind.values()) == pytest.approx(units)
    missed = sum(m.seconds for m in reading.missed)
    assert reading.understood_share * units + missed == pytest.approx(units)
    assert units * 3 <= sum(step.seconds for step in seen.steps)
    assert reading.peak_allocated_bytes > 0


def test_the_samples_of_all_cases_sum_to_what_was_understood(trace):
    seen, found = recorded(trace), kineto._Found()
    kineto._sort_out(seen, None, found)
    assert sum(sum(t.samples) for t in found.cases.values()) == pytest.approx(found.understood)
    for key, timed in found.cases.items():
        record = kineto._operation(timed)
        assert record["low"] <= record["seconds"] <= record["high"]
        assert from_dict(record["case"]).key == key == record["key"]


def test_estimates_stand_on_the_profile(trace, tmp_path):
    from planner.compare.own import predicted

    out = kineto.import_traces([trace], "local", tmp_path / "cpu.json").outcome.path
    question = Question(
        model="gpt2", samples=64, tokens_per_sample=64, strategy=["fine_tune"], gpu=str(out)
    )
    own = predicted(question)
    assert own.subject.option.rented.spec.pricing == "calibrated"
    assert own.step.seconds > 0


def test_host_costs_are_taken_only_where_that_is_asked_for(planner, trace, tmp_path):
    out = tmp_path / "cpu.json"
    code, text, _ = planner("--trace", trace, "--gpu", "local", "--host-costs", "--out", out)
    assert code == 0 and "upper bounds" in text
    host = profile.load(out).host
    assert {"forward_seconds", "backward_seconds", "optimizer_seconds"} <= set(host)
    assert 0 < host["view_forward_seconds"] < 1e-2 and host["module_seconds"] == 0.0


def test_the_host_time_of_a_phase_is_shared_by_its_operations(trace):
    from planner.calibrate.kineto.host import host_records

    seen = recorded(trace)
    costs = {r["name"]: r["value"] for r in host_records(seen)}
    for phase in ("forward", "backward", "optimizer"):
        count = sum(unit.phase == phase for _, unit in seen.units)
        assert costs[f"{phase}_seconds"] * count <= sum(step.seconds for step in seen.steps)


def test_the_document_says_what_was_read(planner, trace, tmp_path):
    code, text, _ = planner(
        "--trace", trace, "--gpu", "local", "--out", tmp_path / "a.json", "--json"
    )
    document = json.loads(text)
    assert code == 0 and document["trace"]["understood_share"] >= 0.9
    assert document["trace"]["has_shapes"] and not document["trace"]["host_taken"]
    assert document["basis"] == "calibrated"


def test_several_traces_are_one_profile(planner, trace, tmp_path):
    out = tmp_path / "cpu.json"
    code, text, _ = planner("--trace", trace, "--trace", trace, "--gpu", "local", "--out", out)
    assert code == 0 and "(6 recorded)" in text


# ---- real ones


def test_an_excerpt_of_an_h100_is_understood(planner, tmp_path):
    out = tmp_path / "h100.json"
    code, text, _ = planner("--trace", H100, "--out", out)
    made = profile.load(out)
    assert code == 0 and text.startswith("Understood 96.8%")
    assert "Not understood: aten::_local_scalar_dense (3.2%" in text
    assert made.device["key"] == "h100-sxm" and made.provenance["cuda"] == "12.4"
    assert "matmul.nt.bfloat16" in made.curves and "attention" in {
        family.partition(".")[0] for family in made.curves
    }
    assert 1e-6 < made.facts["launch_latency_seconds"] < 5e-6


def test_collectives_are_said_and_are_no_part_of_the_share(planner, tmp_path):
    code, text, _ = planner("--trace", MI300X, "--out", tmp_path / "mi.json", "--json")
    found = json.loads(text)["trace"]
    assert code == 0
    assert found["communication_seconds"] == pytest.approx(found["by_kind"]["communication"])
    assert found["understood_share"] == pytest.approx(
        1 - sum(m["seconds"] for m in found["missed"]) / found["computed_seconds"]
    )
    assert [m["name"] for m in found["missed"]] == ["aten::_foreach_add_"]
    seen = recorded(MI300X)
    assert sum(o.end - o.start for o in seen.ran if not communicates(o)) > 0


def without_shapes(path, folder):
    document = json.loads(path.read_text())
    for event in document["traceEvents"]:
        for name in ("Input Dims", "Input type", "Input Strides", "Concrete Inputs"):
            event["args"].pop(name, None)
    bare = folder / "bare.json"
    bare.write_text(json.dumps(document))
    return bare


def test_without_shapes_nothing_is_made_and_the_mend_is_said(planner, tmp_path):
    code, _, err = planner("--trace", without_shapes(H100, tmp_path), "--out", tmp_path / "h.json")
    assert code == 2 and err.count("\n") == 1
    assert "none of its operations has sizes" in err and "--question project.yaml" in err
    assert not (tmp_path / "h.json").exists()


def test_without_shapes_the_order_of_our_own_step_tells_them(tmp_path):
    from planner.compare.own import own_step

    question = Question(
        model="bert-base-uncased", samples=64, tokens_per_sample=64, strategy=["fine_tune"],
        gpu="h100",
    )  # fmt: skip
    own = own_step(question)
    assert isinstance(own, OwnStep)
    bare = without_shapes(H100, tmp_path)
    made = kineto.import_traces([bare], None, tmp_path / "h.json", own=own)
    reading = made.reading
    # an excerpt runs fewer products than the whole model, which is said
    assert any(line.startswith("Doubtful: the recorded") for line in kineto.first_lines(reading))
    assert any("another model's" in doubt["what"] for doubt in doubts(reading))
    assert reading.by_order_share == pytest.approx(reading.understood_share) and (
        reading.by_order_share > 0.5
    )
    assert not reading.has_shapes
    families = {family.partition(".")[0] for family in made.outcome.profile.curves}
    assert {"matmul", "attention", "embedding"} <= families


# ---- whatever a trace says

JUNK = st.recursive(
    st.none() | st.integers(-3, 2**45) | st.text(max_size=6) | st.floats(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
SIZES = st.lists(st.integers(0, 9), max_size=3)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "Input Dims": st.lists(SIZES | st.lists(SIZES, max_size=2), max_size=4) | JUNK,
        "Input type": st.lists(
            st.sampled_from(["float", "c10::BFloat16", "Scalar", "TensorList", "ScalarList", ""])
            | JUNK,
            max_size=4,
        )
        | JUNK,
        "Input Strides": st.lists(SIZES, max_size=4) | JUNK,
        "Concrete Inputs": st.lists(st.sampled_from(["", "1", "[1, 2]", "True"]), max_size=4)
        | JUNK,
        "Sequence number": JUNK,
    },
)
OPERATIONS = st.sampled_from(
    ["aten::mm", "aten::add_", "aten::cat", "aten::convolution_backward", "aten::sqrt",
     "aten::_scaled_dot_product_flash_attention", "aten::_fused_adamw_", "aten::full", "aten::x y",
     "aten::cudnn_batch_norm", "aten::_fused_rms_norm", "mine::op", "Optimizer.step#A",
     "autograd::engine::evaluate_function: A", "aten::__class__", "aten::index", "::", "aten::"]
)  # fmt: skip


@given(
    st.lists(st.tuples(OPERATIONS, st.integers(0, 40), st.integers(1, 30), ARGUMENTS), max_size=8)
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_arguments_are_the_end_is_a_profile_or_one_line(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("junk")
    events = [
        {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur,
         "args": args}
        for name, ts, dur, args in found
    ]  # fmt: skip
    path = folder / "trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    try:
        made = kineto.import_traces([path], "local", folder / "a.json", with_host=True)
    except PlannerError as error:
        assert "\n" not in str(error)
    else:
        assert 0 < made.reading.understood_share <= 1 + 1e-9


# ---- what the first lines say is missing


def changed(path, folder, change):
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        document = json.loads(file.read())
    document["traceEvents"] = [e for e in map(change, document["traceEvents"]) if e]
    made = folder / "changed.json"
    made.write_text(json.dumps(document))
    return made


def lines_of(path, folder):
    return kineto.first_lines(kineto.import_traces([path], "local", folder / "a.json").reading)


def test_a_pass_that_was_not_recorded_is_said(planner, tmp_path):
    code, text, _ = planner("--trace", H100, "--out", tmp_path / "h100.json")
    assert code == 0 and "No backward pass and no update was recorded" in text


def test_whole_steps_miss_nothing(trace, tmp_path):
    said = " ".join(lines_of(trace, tmp_path))
    assert not any(word in said for word in ("was recorded:", "marks no steps", "Left out"))


def test_steps_without_marks_are_told_by_their_updates(trace, tmp_path):
    bare = changed(
        trace, tmp_path, lambda e: None if e.get("name", "").startswith("ProfilerStep#") else e
    )
    assert any(
        "each is taken to end with an optimizer's update" in s for s in lines_of(bare, tmp_path)
    )
    made = kineto.import_traces([bare], "local", tmp_path / "b.json").reading
    assert made.steps == 3 and not made.marked


def test_what_has_no_time_is_said(trace, tmp_path):
    def timeless(event):
        return {**event, "dur": -1} if event.get("name") == "aten::gelu" else event

    assert any(
        "Left out: 6 operations" in s
        for s in lines_of(changed(trace, tmp_path, timeless), tmp_path)
    )


def test_what_took_longer_than_usual_is_said(trace, tmp_path):
    def sizes(event):
        return str(event.get("args", {}).get("Input Dims"))

    with gzip.open(trace) if trace.suffix == ".gz" else trace.open("rb") as file:
        events = json.loads(file.read())["traceEvents"]
    products = Counter(sizes(e) for e in events if e.get("name") == "aten::addmm")
    often, times = products.most_common(1)[0]
    assert times >= 3
    seen = []

    def held_up(event):
        if event.get("name") != "aten::addmm" or sizes(event) != often:
            return event
        seen.append(event)
        # the last of them, so that nothing that follows it is overrun by much
        return event | {"dur": event["dur"] + 5e5} if len(seen) == times else event

    path = changed(trace, tmp_path, held_up)
    reading = kineto.import_traces([path], "local", tmp_path / "a.json").reading
    assert reading.usual_share < 0.9
    assert any("The medians of its operations come to" in s for s in kineto.first_lines(reading))


def test_the_mend_is_what_would_help(tmp_path):
    from dataclasses import replace

    reading = kineto.import_traces([MI300X], None, tmp_path / "a.json").reading

    def mend(**changes):
        return next(iter(doubts(replace(reading, **changes))))["mend"]

    assert reading.has_shapes and "--question project.yaml" in mend()
    assert "record_shapes=True" in mend(has_shapes=False)
    assert "on the machine itself" in mend(by_order_share=0.1)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_first_lines_keep_to_the_width(planner, tmp_path, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, text, _ = planner("--trace", MI300X, "--out", tmp_path / "mi.json")
    first = text.partition("\n\n")[0]
    assert code == 0 and "Collectives took" in " ".join(first.split())
    assert max(map(len, first.splitlines())) <= width


# ---- what is refused


def test_traces_of_two_devices_are_refused(planner, tmp_path):
    code, _, err = planner("--trace", H100, "--trace", MI300X, "--out", tmp_path / "a.json")
    assert code == 2 and "of several devices" in err and err.count("\n") == 1


def test_a_processor_that_no_trace_names_needs_its_machine(planner, trace, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    code, _, err = planner("--trace", trace, "--out", tmp_path / "a.json")
    assert code == 2 and "no trace tells which" in err and "--gpu local" in err


def test_a_device_that_no_trace_names_takes_the_name_that_is_given(planner, tmp_path):
    document = json.loads(H100.read_text()) | {"deviceProperties": []}
    path = tmp_path / "nameless.json"
    path.write_text(json.dumps(document))
    code, _, err = planner("--trace", path, "--out", tmp_path / "a.json")
    assert code == 2 and "does not say which device" in err and "--gpu" in err
    code, _, _ = planner("--trace", path, "--gpu", "h100-pcie", "--out", tmp_path / "a.json")
    assert code == 0 and profile.load(tmp_path / "a.json").device["key"] == "h100-pcie"


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--trace", "none.json"], "no such file"),
        (["--trace", str(H100), "--again"], "--trace measures nothing"),
        (["--trace", str(H100), "--from", "a.csv"], "--trace measures nothing"),
        (["--trace", str(H100), "--device", "mps"], "no device of a trace"),
        (["--trace", str(H100), "--device", "cuda:4"], "nothing ran on cuda:4"),
        (["--trace", str(H100), "--out", "profile.csv"], "a profile is a .json file"),
        (["--trace", str(H100), "--tokenizer", "t.json"], "--trace measures nothing"),
        (["--trace", str(H100), "--image-size", "9"], "--trace measures nothing"),
        (["--host-costs"], "speak of a trace"),
        (["--question", "gpt2"], "speak of a trace"),
        (["--gpu", "h100"], "names the rows of a table, or the device of a trace"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_code_2(planner, flags, said):
    code, out, err = planner(*flags)
    assert code == 2 and said in err and err.count("\n") == 1 and not out


def test_a_device_that_was_measured_here_is_not_replaced(planner, tmp_path):
    out = tmp_path / "h100.json"
    (tmp_path / "h100.journal.jsonl").write_text("")
    code, _, err = planner("--trace", H100, "--out", out)
    assert code == 2 and "was calibrated here" in err and not out.exists()
