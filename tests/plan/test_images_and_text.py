"""A question about a model that writes about images, from data to first lines."""

import importlib.util
import json

import pytest
from PIL import Image

from planner.datasets.scanning import scan
from planner.plan.inputs.problem import understand
from planner.question import Question


@pytest.fixture
def talks(tmp_path):
    """Ten pictures of 640 × 480 pixels, and a talk about each with the picture among its parts."""
    rows = []
    for number in range(10):
        name = f"{number}.jpg"
        Image.new("RGB", (640, 480)).save(tmp_path / name)
        asked = [{"type": "image", "image": name}, {"type": "text", "text": "What is seen here?"}]
        said = [{"type": "text", "text": "A street with red cars and two tall blue houses."}]
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        rows.append(json.dumps({"messages": turns}))
    file = tmp_path / "talks.jsonl"
    file.write_text("\n".join(rows))
    return file


def asked(model, file, **more):
    return understand(Question(model=model, data=str(file), offline=True, **more))


def test_pictures_in_messages_are_found(talks):
    found = scan(talks, task="image_text_to_text")
    assert found.modality == "image_text" and found.images_per_sample == 1.0
    assert found.image_sizes[:2] == (640, 480)


def test_places_of_images_are_counted_with_the_text(talks):
    text = scan(talks, task="image_text_to_text").lengths
    problem = asked("llava-1.5-7b", talks)
    assert problem.facts.task == "image_text_to_text"
    # vocabularies differ in size, so tokens of text by bytes are near, not equal
    assert abs((problem.data.lengths - 576 - text).mean()) < 12
    lines = [line.text for line in problem.first_lines]
    assert any("1 image a sample of 336 × 336 pixels: 576 tokens each" in line for line in lines)
    assert any("the vision tower is frozen" in line for line in lines)
    assert not any("are not counted" in line for line in lines)


def test_more_images_take_more_places(talks):
    one, two = (asked("llava-1.5-7b", talks, images_per_sample=n) for n in (1, 2))
    assert (two.data.lengths - one.data.lengths == 576).all()


def test_a_writer_of_text_is_asked_about_images_where_the_data_holds_some(talks, tmp_path):
    plain = tmp_path / "plain" / "talks.jsonl"
    plain.parent.mkdir()
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]
    plain.write_text("\n".join([json.dumps({"messages": turns})] * 10))
    assert asked("SmolVLM-256M-Instruct", talks).facts.task == "image_text_to_text"
    assert asked("SmolVLM-256M-Instruct", plain).facts.task == "causal_lm"


@pytest.mark.slow
def test_a_question_is_answered_end_to_end(talks, tmp_path, monkeypatch, capsys):
    if importlib.util.find_spec("peft") is None:
        pytest.skip("needs peft")
    from planner.cli import main

    monkeypatch.setenv("PLANNER_CACHE", str(tmp_path / "cache"))
    command = ["estimate", "SmolVLM-256M-Instruct", str(talks), "--gpu", "a100-80gb"]
    with pytest.raises(SystemExit) as left:
        main.main([*command, "--strategy", "lora", "--offline", "--json"])
    assert not left.value.code
    answer = json.loads(capsys.readouterr().out)
    (option,) = answer["options"]
    # 3 rows of 4 tiles and the whole, 64 tokens and marks
    assert any("863 tokens each" in line["text"] for line in answer["first_lines"])
    assert option["model"]["trainable_params"] < option["model"]["total_params"]
