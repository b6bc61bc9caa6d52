"""What data cannot teach, what a model does not hear of it, and how often it is gone over: said
first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from planner import Question
from planner.models.resolve import resolve
from planner.plan.inputs.families.needed import needed_lines
from planner.plan.inputs.families.speech import heard_lines
from planner.plan.inputs.problem import understand


def problem(model: str, **fields):
    return understand(Question(model=model, **fields))


def warnings(lines):
    assert all(line.warning for line in lines)
    return [line.text for line in lines]


@pytest.mark.parametrize(
    "model, task, rows",
    [
        ("bert-base-cased", "token_classification", "text,label\nfine and good,1\nbad and sad,0\n"),
        ("roberta-base", "question_answering", "text,label\nfine and good,1\nbad and sad,0\n"),
    ],
)
def test_a_task_without_what_it_learns_from(tmp_path, model, task, rows):
    (tmp_path / "data.csv").write_text(rows)
    found = problem(model, data=str(tmp_path / "data.csv"), task=task, offline=True)
    (said,) = warnings(needed_lines(found.facts, found.data, task))
    assert f"from which {task} learns" in said
    assert said in [line.text for line in found.first_lines]
    assert not needed_lines(found.facts, dataclasses.replace(found.data, told_task=task), task)


def test_images_without_boxes_teach_no_detector():
    found = problem("detr-resnet-50", samples=100)
    assert not needed_lines(found.facts, found.data, "object_detection")  # counts alone are known
    read = dataclasses.replace(found.data, source="files", format="image_folder")
    (said,) = warnings(needed_lines(found.facts, read, "object_detection"))
    assert "holds no boxes" in said
    boxes = dataclasses.replace(read, format="coco", objects=np.array([2, 0]))
    assert not needed_lines(found.facts, boxes, "object_detection")


def test_sounds_beyond_the_window_are_not_heard():
    facts = resolve("whisper-small", offline=True)
    data = problem("whisper-small", samples=10, seconds_per_sample=12).data
    assert not heard_lines(facts, data)
    long = dataclasses.replace(data, audio_seconds=np.array([30.0, 90.0]))
    (said,) = warnings(heard_lines(facts, long))
    assert said.startswith("the model hears 30 s of a clip: 50% of the sound")


def test_a_recipe_that_goes_over_few_samples_many_times_is_warned_of():
    asked = {"samples": 100, "seconds_per_sample": 12, "strategy": ["fine_tune"]}
    from planner.plan.inputs.practice import practice

    def lines(**more):
        found = problem("whisper-small", **asked, **more)
        made = practice(found.question, found.facts, found.data, "fine_tune", found.facts.task)
        return [line.text for line in made.lines if line.warning]

    (said,) = lines()
    assert "times over 100 samples" in said and "--epochs" in said
    assert not lines(epochs=400)
