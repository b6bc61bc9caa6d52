"""What a script trains on is what the plan read."""

import pytest
import tiny

from planner.datasets.scanning import scan
from planner.datasets.templates.choosing import ModelText
from planner.errors import DataError
from planner.recipe.data import (
    class_names,
    labelled_images,
    labelled_texts,
    preference_pairs,
    prompts,
    read_records,
    trained_texts,
)

LLAMA = ModelText("Llama-3.2-1B", "llama", 128256)


def test_conversations_are_rendered_and_the_loss_is_on_the_answers(chats):
    read = read_records(chats, task="causal_lm")
    made = trained_texts(read, LLAMA)
    assert len(made) == 60 and all(one.is_rendered for one in made)
    for number, one in enumerate(made):
        answer = tiny.said(number).split("? ")[1]
        assert answer in one.text and one.trained is not None
        spans = "".join(one.text[start:stop] for start, stop in one.trained)
        assert answer in spans and "What is" not in spans


def test_many_conversations_are_rendered_in_parts_and_stay_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("planner.recipe.data.AT_ONCE", 7)
    file = tiny.chats(tmp_path / "many.jsonl", 30)
    made = trained_texts(read_records(file, task="causal_lm"), LLAMA)
    assert [f"It is {2 * i}," in one.text for i, one in enumerate(made)] == [True] * 30


def test_plain_texts_are_trained_whole(tmp_path):
    file = tiny.lines(tmp_path / "t.jsonl", ({"text": tiny.said(i)} for i in range(20)))
    (first, *_) = trained_texts(read_records(file, task="causal_lm"), LLAMA)
    assert (first.text, first.trained, first.is_rendered) == (tiny.said(0), None, False)


def test_columns_are_those_of_the_plan_or_the_script_stops(chats, pairs):
    columns = scan(chats, task="causal_lm").columns
    assert read_records(chats, task="causal_lm", columns=columns).layout.as_columns() == columns
    with pytest.raises(DataError, match="the plan read kind chat"):
        read_records(pairs, task="causal_lm", columns=columns)


def test_pairs_are_messages_or_texts(pairs):
    read = read_records(pairs, task="causal_lm")
    first = preference_pairs(read, None)[0]
    assert first["prompt"] == [{"role": "user", "content": "What is 0?"}]
    assert first["chosen"] == [{"role": "assistant", "content": "A number, 0."}]
    assert first["rejected"] == [{"role": "assistant", "content": "No idea at all."}]
    texts = preference_pairs(read, LLAMA)[0]
    assert texts["prompt"].count("What is 0?") == 1 and "A number" not in texts["prompt"]
    assert texts["chosen"].startswith("A number, 0.")
    assert texts["rejected"].startswith("No idea at all.")


def test_what_is_no_pair_is_refused(chats):
    with pytest.raises(DataError, match="record 1 has no chosen and rejected answer"):
        preference_pairs(read_records(chats, task="causal_lm"), None)


def test_prompts_keep_what_a_reward_may_read(pairs):
    first = prompts(read_records(pairs, task="causal_lm"), None)[0]
    assert first["prompt"] == [{"role": "user", "content": "What is 0?"}]
    assert first["chosen"] == "A number, 0."


def test_labels_are_numbered_in_an_order_that_does_not_hang_on_the_data(labelled):
    texts, names = labelled_texts(read_records(labelled, task="text_classification"))
    assert names == ["even", "odd"] and [one.label for one in texts[:4]] == [0, 1, 0, 1]
    assert class_names([10, 9, 2, None]) == ["2", "9", "10"]


def test_images_are_of_their_folders_class(images):
    files, names = labelled_images(images)
    assert names == ["cat", "dog", "owl"] and len(files) == 42
    assert all(names[label] == file.parent.name for file, label in files)


def test_images_without_classes_are_refused(tmp_path):
    tiny.images(tmp_path / "one", classes=("cat",))
    with pytest.raises(DataError, match="a folder a class"):
        labelled_images(tmp_path / "one")
