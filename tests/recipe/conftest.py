import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # noqa: E402

from planner.question import Question  # noqa: E402
from planner.recipe.planned import planned  # noqa: E402


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return tiny.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def chats(tmp_path_factory):
    return tiny.chats(tmp_path_factory.mktemp("chats") / "chats.jsonl")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    return tiny.pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl")


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    return tiny.labelled(tmp_path_factory.mktemp("labelled") / "labelled.jsonl")


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return tiny.images(tmp_path_factory.mktemp("images") / "images")


@pytest.fixture
def plan_of():
    """A plan of a shipped model on a GPU: nothing is traced for it."""

    def plan(data, model="Llama-3.2-1B", **fields):
        fields = {"gpu": "h100-sxm", "strategy": ["lora"], "offline": True} | fields
        return planned(Question(model=model, data=str(data), **fields))

    return plan
