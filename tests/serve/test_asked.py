"""What others may ask: names and numbers, never paths, and never a bug."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.question import Question
from planner.serve.asked import CLOSED, Asked, asked, open_fields
from planner.serve.work.answering import Answerer
from planner.serve.work.job import Answered, Job, Refused, Unrecorded

GOOD = {"model": "gpt2", "samples": 1000, "tokens_per_sample": 100, "gpu": "t4"}


@pytest.mark.parametrize("name", CLOSED)
def test_what_reads_this_machine_is_not_set_from_outside(name):
    with pytest.raises(PlannerError, match="not set from here"):
        asked({**GOOD, name: True})
    assert name not in Asked.model_fields


@pytest.mark.parametrize(
    "model",
    [
        "/etc/passwd",
        "./gpt2",
        "../gpt2",
        "~/model",
        "..",
        "models/../../etc",
        "C:\\models",
        "project.yaml",
        "config.json",
        "my.module:factory",
        "os:system",
        "a/b/c",
        "gpt2\x00",
        "gpt2\nx",
        "<script>alert(1)</script>",
        "$(id)",
        "x" * 5000,
        "",
        7,
        ["gpt2"],
        {"a": 1},
        None,
    ],
)
def test_a_model_is_a_name(model):
    with pytest.raises(PlannerError):
        asked({**GOOD, "model": model})
    if model:
        with pytest.raises(PlannerError):
            asked({**GOOD, "strategy": ["distillation"], "teacher": model})


@pytest.mark.parametrize("gpu", ["/tmp/gpu.json", "profile.json", "../t4", "a/b", 5])
def test_a_gpu_is_a_name(gpu):
    with pytest.raises(PlannerError):
        asked({**GOOD, "gpu": gpu})


def test_a_folder_of_the_models_name_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert asked(GOOD).model == "gpt2"
    (tmp_path / "gpt2").mkdir()
    with pytest.raises(PlannerError, match="not read from here"):
        asked(GOOD)


def test_numbers_may_be_written_as_people_write_them():
    question = asked({**GOOD, "samples": "20k", "epochs": "3", "strategy": "lora"})
    assert (question.samples, question.epochs, question.strategy) == (20000, 3.0, ["lora"])


@pytest.mark.parametrize("strategy", [False, True, 0, 7, -1.5, {"lora": 1}, [["lora"]], [None]])
def test_a_strategy_that_is_no_name_is_one_line(answerer, strategy):
    for model in (None, "gpt2"):
        fields = {**GOOD, "api_model": model, "strategy": strategy}
        reply = answerer.answer(Job("estimate", fields))
        assert isinstance(reply, Refused) and reply.status == 422
        assert reply.fields == ("strategy",) and "\n" not in reply.what


def test_the_network_is_the_servers_to_open():
    assert asked(GOOD).offline
    assert not asked(GOOD, online=True).offline


def test_every_field_of_a_question_is_open_or_closed_and_described():
    described = Asked.model_json_schema()["properties"]
    assert {*open_fields(), *CLOSED} == set(Question.model_fields)
    assert set(described) == set(open_fields())
    assert all(described[name]["description"] for name in described)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.lists(st.one_of(st.integers(), st.text(max_size=8)), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.sampled_from(["/etc/passwd", "=1+1", "\x1b[31m", "{{7*7}}", "lora", "packed", "1e400", "∞"]),
)


@pytest.fixture(scope="module")
def answerer():
    return Answerer(record=False)


@settings(max_examples=80, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(sorted(open_fields())), ANYTHING, max_size=4))
def test_no_value_of_any_field_is_a_bug(answerer, fields):
    reply = answerer.answer(Job("estimate", {**GOOD, "strategy": ["lora"], **fields}))
    assert isinstance(reply, (Answered, Refused, Unrecorded))
    if isinstance(reply, Refused):
        assert reply.status in (422, 503), reply
        assert "\n" not in reply.what and "Traceback" not in reply.what
        json.dumps(reply.as_dict())
    if isinstance(reply, Answered):
        json.loads(reply.body, parse_constant=lambda name: pytest.fail(name))


def test_a_refusal_names_field_and_way_out_without_flags(answerer):
    reply = answerer.answer(Job("estimate", {"model": "gpt2", "samples": 10}))
    assert isinstance(reply, Refused)
    assert (reply.where, reply.fields) == ("tokens_per_sample", ("tokens_per_sample",))
    assert "--" not in f"{reply.what} {reply.mend}"


def test_a_refusal_does_not_say_where_files_lie(answerer):
    reply = answerer.answer(Job("estimate", {**GOOD, "model": "nobody/has-this"}))
    assert isinstance(reply, Refused)
    assert str(Path.home()) not in f"{reply.what} {reply.mend}"


def test_a_bug_is_no_traceback_to_the_client(answerer, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("secret /home/me")

    monkeypatch.setattr("planner.answer.estimate.estimate", broken)
    reply = answerer.answer(Job("estimate", GOOD))
    assert isinstance(reply, Refused) and reply.status == 500
    assert "secret" not in reply.what
    assert "secret" in capsys.readouterr().err
