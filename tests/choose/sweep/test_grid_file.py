"""Which questions a grid's file asks, and how what is wrong in it is refused."""

import pytest
from sweeping import GRID, written

from planner.choose.sweep import grid as grids
from planner.choose.sweep.asked import questions_of
from planner.choose.sweep.grid import read_grid
from planner.errors import PlannerError
from planner.question.parsing import question_from

BASE = "model: gpt2\nsamples: 100\ntokens_per_sample: 30\n"


def asked(folder, text):
    return [one.given for one in questions_of(read_grid(written(folder, text)))[0]]


def test_a_list_is_swept_and_its_last_key_moves_fastest(tmp_path):
    found = asked(tmp_path, GRID)
    assert len(found) == 16
    assert [(f["model"], f["tokens_per_sample"], f["strategy"], f["gpu"]) for f in found[:5]] == [
        ("bert-base-uncased", 64, "lora", "h100-sxm"),
        ("bert-base-uncased", 64, "lora", "l4"),
        ("bert-base-uncased", 64, "fine_tune", "h100-sxm"),
        ("bert-base-uncased", 64, "fine_tune", "l4"),
        ("bert-base-uncased", 200, "lora", "h100-sxm"),
    ]
    assert all(f["samples"] == 1000 and f["micro_batch"] == 8 for f in found)


def test_columns_stand_in_the_order_of_the_file(tmp_path):
    assert read_grid(written(tmp_path, GRID)).fields == (
        *("model", "samples", "tokens_per_sample", "strategy", "micro_batch", "gpu"),
    )


def test_null_leaves_a_field_open(tmp_path):
    found = asked(tmp_path, BASE + "gpu: [null, l4]\nprecision: null\n")
    assert ["gpu" in one for one in found] == [False, True]
    assert not any("precision" in one for one in found)


def test_a_list_in_a_list_is_one_value(tmp_path):
    found, _ = questions_of(
        read_grid(written(tmp_path, BASE + "lora_targets: [[q, v], 'k,v']\nstrategy: lora\n"))
    )
    assert [one.values["lora_targets"] for one in found] == [["q", "v"], ["k", "v"]]
    assert found[0].values["strategy"] == ["lora"]


def test_what_is_excluded_is_left_out(tmp_path):
    both = "exclude:\n  - {gpu: l4, strategy: fine_tune}\n  - {model: gpt2, gpu: [h100-sxm]}\n"
    found = asked(tmp_path, GRID + both)
    assert len(found) == 16 - 4 - 4 + 0
    assert not [f for f in found if f["gpu"] == "l4" and f["strategy"] == "fine_tune"]
    assert {f["gpu"] for f in found if f["model"] == "gpt2"} == {"l4"}


def test_what_is_included_stands_on_what_is_set_for_all(tmp_path):
    more = "include:\n  - {gpu: l4, epochs: [1, 2]}\n  - {model: bert-base-uncased, gpu: t4}\n"
    found = asked(tmp_path, BASE + more)
    assert [(f["model"], f["gpu"], f.get("epochs")) for f in found] == [
        ("gpt2", "l4", 1),
        ("gpt2", "l4", 2),
        ("bert-base-uncased", "t4", None),
    ]


def test_the_same_question_is_asked_once(tmp_path):
    text = BASE + "gpu: [l4, l4]\ninclude:\n  - {gpu: l4}\n  - {samples: '100', gpu: l4}\n"
    found, again = questions_of(read_grid(written(tmp_path, text)))
    assert (len(found), again) == (1, 3)


def test_a_name_follows_from_the_question_alone(tmp_path):
    first = questions_of(read_grid(written(tmp_path, BASE + "gpu: l4\nepochs: 2\n")))[0][0]
    text = "epochs: [2.0]\ngpu: [l4]\nsamples: 0.1k\n" + BASE.replace("samples: 100\n", "")
    second = questions_of(read_grid(written(tmp_path, text)))[0][0]
    other = questions_of(read_grid(written(tmp_path, BASE + "gpu: l4\nepochs: 3\n")))[0][0]
    assert first.id == second.id != other.id


def test_a_question_is_the_one_of_the_command_line(tmp_path):
    text = (
        BASE.replace("100", "2k") + "gpu: l4\nstrategy: partial-fine-tune\nlicences: mit,apache\n"
    )
    (found,), _ = questions_of(read_grid(written(tmp_path, text)))
    given = {"samples": "2k", "tokens_per_sample": "30", "gpu": "l4", "licences": "mit,apache"}
    assert found.question() == question_from(
        "gpt2", None, given | {"strategy": "partial-fine-tune"}
    )


def test_paths_start_from_the_file_s_folder(tmp_path):
    (tmp_path / "tickets.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    found = asked(tmp_path, "model: gpt2\ndata: [tickets.jsonl]\ngpu: l4\n")
    assert found[0]["data"] == str(tmp_path / "tickets.jsonl")


def test_a_project_file_may_be_the_model(tmp_path):
    written(tmp_path, BASE + "epochs: 2\n", "project.yaml")
    (found, _), _ = questions_of(
        read_grid(written(tmp_path, "model: project.yaml\ngpu: [l4, t4]\n"))
    )
    assert found.values["model"] == "gpt2" and found.values["epochs"] == 2


def test_other_formats_of_settings_are_read(tmp_path):
    text = '{"model": "gpt2", "samples": 10, "tokens_per_sample": 5, "gpu": ["l4", "t4"]}'
    assert len(questions_of(read_grid(written(tmp_path, text, "grid.json")))[0]) == 2


@pytest.mark.parametrize(
    "more, words",
    [
        ("gpuz: [l4]\n", ["grid.yaml line 4", "unknown key 'gpuz'", "Did you mean gpu"]),
        ("epochs: [1, many]\n", ["grid.yaml line 4: epochs", "'many' is not a number"]),
        ("strategy: [lora, lorra]\n", ["grid.yaml line 4: strategy", "Did you mean lora"]),
        ("micro_batch: [1, 0]\n", ["line 4: micro_batch", "0 must be at least 1"]),
        ("gpu: []\n", ["line 4: gpu", "lists nothing"]),
        ("gpu: [l4, h1000]\n", ["line 4: gpu", "unknown GPU 'h1000'", "h100-sxm"]),
        ("provider: [aws, awz]\n", ["line 4: provider", "Did you mean aws"]),
        ("region: [nowhere-1]\n", ["line 4: region", "unknown region"]),
        ("gpu: l4\ngpu: t4\n", ["line 5", "'gpu' is given twice"]),
        ("exclude: {gpu: l4}\n", ["line 4", "exclude is a list"]),
        ("exclude: [l4]\n", ["line 4", "an entry of exclude is no combination"]),
        ("gpu: [l4]\nexclude: [{gpu: t4}]\n", ["line 5", "'t4' is no value of gpu", "l4"]),
        ("exclude: [{gpus: 2, card: l4}]\n", ["line 4: exclude", "unknown key 'card'"]),
        ("include: [{card: l4}]\n", ["line 4: include", "unknown key 'card'"]),
        ("gpu: [l4]\nexclude: [{gpu: l4}]\n", ["every combination is left out"]),
        ("data: nowhere.jsonl\n", ["line 4: data", "there is no file or folder"]),
        ("labels: 5\n", ["grid.yaml: labels without usd_per_label"]),
        ("lora_rank: [8, {a: 1}]\n", ["line 4: lora_rank"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path, more, words):
    with pytest.raises(PlannerError) as found:
        questions_of(read_grid(written(tmp_path, BASE + more)))
    text = str(found.value)
    assert found.value.exit_code == 2 and "\n" not in text
    assert not [word for word in words if word not in text], text


@pytest.mark.parametrize(
    "text, words",
    [
        ("samples: 10\ntokens_per_sample: 5\n", "the key 'model' is missing"),
        ("model: [gpt2, gtp2-larg]\nsamples: 10\n", "line 1: model: unknown model 'gtp2-larg'"),
        ("model: [1]\nsamples: 10\n", "line 1: model: 1 is no model's name"),
        ("- model: gpt2\n", "a project file is a list of 'key: value' lines"),
    ],
)
def test_a_model_that_is_none_is_refused_at_once(tmp_path, text, words):
    with pytest.raises(PlannerError, match=words):
        questions_of(read_grid(written(tmp_path, text)))


def test_a_grid_without_end_is_taken_for_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr(grids, "MOST", 15)
    with pytest.raises(PlannerError, match="16 combinations are more than 15"):
        read_grid(written(tmp_path, GRID))


def test_a_combination_that_contradicts_itself_is_a_row_not_a_stop(tmp_path):
    text = "model: gpt2\nsamples: 10\ntokens_per_sample: 5\ngpu: l4\nspot: [false, true]\n"
    found, _ = questions_of(read_grid(written(tmp_path, text + "checkpoint_minutes: [null, 5]\n")))
    assert [one.refusal is None for one in found] == [True, False, True, True]
    assert "belong to spot" in found[1].refusal and found[1].values is None
