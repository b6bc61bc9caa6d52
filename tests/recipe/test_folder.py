"""A folder that appears whole or not at all."""

import os

import pytest

from planner.cli import main
from planner.errors import MachineError, QuestionError
from planner.recipe import folder as folders
from planner.recipe.folder import write_folder

FILES = {"a.py": "1\n", "b.yaml": "2\n"}


def test_a_new_folder_has_all_files_and_usual_rights(tmp_path):
    write_folder(tmp_path / "train", FILES)
    assert sorted(os.listdir(tmp_path)) == ["train"]
    assert {f.name: f.read_text() for f in (tmp_path / "train").iterdir()} == FILES
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "train").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "train").mkdir()
    write_folder(tmp_path / "train", FILES)
    assert len(list((tmp_path / "train").iterdir())) == 2


def test_a_full_folder_is_refused_unless_forced_and_keeps_what_is_not_ours(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "notes.txt").write_text("mine")
    with pytest.raises(QuestionError, match="is not empty.*--force"):
        write_folder(tmp_path / "train", FILES)
    assert os.listdir(tmp_path / "train") == ["notes.txt"]
    write_folder(tmp_path / "train", FILES, force=True)
    assert sorted(os.listdir(tmp_path / "train")) == ["a.py", "b.yaml", "notes.txt"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(path, text):
        raise MachineError("no space left on device", where=str(path))

    monkeypatch.setattr(folders, "write", full)
    with pytest.raises(MachineError, match="no space"):
        write_folder(tmp_path / "train", FILES)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("place, word", [("file", "is a file"), ("none/train", "no such folder")])
def test_a_place_that_cannot_be_is_refused(tmp_path, place, word):
    (tmp_path / "file").write_text("")
    with pytest.raises(QuestionError, match=word):
        write_folder(tmp_path / place, FILES)


def test_the_command_refuses_a_full_folder_before_it_plans(tmp_path, capsys):
    (tmp_path / "x").write_text("")
    assert main.run(["recipe", "no-such-model", "no-data", "-o", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
