"""The documents of ``planner compare`` keep to their schema, from Python as on the command line."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import planner
from planner import Comparison, PlannerError, Question, compare
from planner.cli.main import run
from planner.compare.document import compare_trace
from planner.compare.schema import Compared, compare_schema

H100 = Path(__file__).parents[1] / "data" / "kineto" / "h100.json"
ASKED: dict[str, Any] = dict(samples=640, tokens_per_sample=64, strategy=["fine_tune"], gpu="h100")
MODEL = "bert-base-uncased"


@pytest.fixture
def snapshot(tmp_path):
    mib = 1 << 20
    frames = [{"filename": "/home/me/model.py", "line": 7, "name": "forward"}]
    events = [{"action": "alloc", "addr": 5, "size": 8 * mib, "frames": frames}]
    block = {"address": 5, "size": 8 * mib, "state": "active_allocated", "frames": frames}
    segment = {"device": 0, "address": 5, "total_size": 20 * mib, "blocks": [block]}
    path = tmp_path / "snapshot.pickle"
    path.write_bytes(pickle.dumps({"segments": [segment], "device_traces": [events]}))
    return path


@pytest.fixture(scope="module")
def of_trace():
    return compare(MODEL, trace=H100, **ASKED)


def test_both_documents_keep_to_the_schema(of_trace, snapshot):
    jsonschema = pytest.importorskip("jsonschema")
    of_snapshot = compare(MODEL, snapshot=snapshot, **ASKED)
    for document in (of_trace, of_snapshot):
        jsonschema.validate(json.loads(document.to_json()), compare_schema())
        assert document.typed.kind == document["kind"]
    wrong = json.loads(of_trace.to_json())
    del wrong["by_kind"][0]["recorded"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, compare_schema())


@pytest.mark.parametrize("part", ["by_kind", "by_phase"])
def test_parts_that_do_not_sum_are_no_document(of_trace, part):
    wrong = json.loads(of_trace.to_json())
    wrong[part][0]["recorded"] += 1.0
    with pytest.raises(ValueError, match="do not sum to the same"):
        Compared.model_validate(wrong)


def test_origins_that_do_not_sum_are_no_document(snapshot):
    wrong = json.loads(compare(MODEL, snapshot=snapshot, **ASKED).to_json())
    wrong["recorded_by_origin"]["backward"] = 3
    with pytest.raises(ValueError, match="does not sum to the recorded peak"):
        Compared.model_validate(wrong)


def test_python_has_the_document_of_the_command_line(of_trace, capsys, tmp_path):
    assert of_trace == compare_trace(Question(model=MODEL, **ASKED), H100)
    assert planner.compare is compare and isinstance(of_trace, Comparison)
    assert repr(of_trace).startswith("<Comparison bert-base-uncased: step_seconds ")
    asked = [MODEL, "--samples", "640", "--tokens-per-sample", "64", "--strategy", "fine_tune"]
    assert run(["compare", *asked, "--gpu", "h100", "--trace", str(H100), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(of_trace.to_json())
    of_trace.save(tmp_path / "a.md")
    of_trace.save(tmp_path / "a.json")
    assert (tmp_path / "a.md").read_text() == of_trace._repr_markdown_()
    assert json.loads((tmp_path / "a.json").read_text())["kind"] == "trace"


@pytest.mark.parametrize(
    "named, said",
    [
        ({}, "names nothing recorded"),
        ({"trace": H100, "snapshot": "s"}, "Name one, trace or snapshot"),
        ({"trace": "none.json"}, "no such file"),
        ({"trace": H100, "device": 4}, "nothing ran on cuda:4"),
    ],
)
def test_what_cannot_be_compared_is_one_line(named: dict[str, Any], said):
    with pytest.raises(PlannerError, match=said) as raised:
        compare(MODEL, **named, **ASKED)
    assert "\n" not in str(raised.value)


def test_of_a_cached_trace_nothing_heavy_is_imported(of_trace, snapshot):
    code = (
        "import sys\nfrom planner import compare\n"
        f"for named in ({{'trace': {str(H100)!r}}}, {{'snapshot': {str(snapshot)!r}}}):\n"
        f"    assert compare({MODEL!r}, **named, **{ASKED!r})['totals']\n"
        "heavy = {'torch', 'transformers', 'pandas', 'peft', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]
