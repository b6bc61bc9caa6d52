"""``planner mcp``, asked by the SDK's own client over standard input and output."""

import json
import os
import sys

import pytest

pytest.importorskip("mcp")

import anyio  # noqa: E402
from mcp import ClientSession, StdioServerParameters, stdio_client  # noqa: E402

from planner import Question, estimate  # noqa: E402

DATA = {"samples": 1000, "tokens_per_sample": 100, "gpu": "t4"}
CALLS = {
    "estimate": ("estimate", {"model": "gpt2", **DATA, "strategy": ["lora", "fine_tune"]}),
    "more": ("estimate", {"model": "gpt2", **DATA, "strategy": ["lora"], "more": {"epochs": 9}}),
    "where": ("where_it_goes", {"model": "gpt2", **DATA, "strategy": "lora"}),
    "path": ("estimate", {"model": "/etc/passwd", **DATA}),
    "closed": ("estimate", {"model": "gpt2", **DATA, "more": {"trust_remote_code": True}}),
    "file": ("estimate", {"model": "gpt2", "more": {"data": "/etc/passwd"}}),
    "models": ("list_models", {"like": "llama"}),
    "gpus": ("list_gpus", {"like": "h100"}),
    "no gpus": ("list_gpus", {"like": "nothing like it"}),
}


async def _talk():
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "planner.cli.main", "mcp"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    answers = {}
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        await session.initialize()
        listed = (await session.list_tools()).tools
        for name, (tool, arguments) in CALLS.items():
            answers[name] = await session.call_tool(tool, arguments)
    return listed, answers


@pytest.fixture(scope="module")
def talk():
    return anyio.run(_talk)


def structured(answer):
    assert not answer.is_error, answer.content
    return answer.structured_content


def test_the_tools_and_what_they_take(talk):
    listed, _ = talk
    names = {tool.name for tool in listed}
    assert names == {"estimate", "choose", "where_it_goes", "list_models", "list_gpus"}
    assert all(tool.description and tool.annotations.read_only_hint for tool in listed)


def test_figures_are_the_documents(talk):
    answer = structured(talk[1]["estimate"])
    expected = json.loads(
        json.dumps(
            estimate(Question(model="gpt2", **DATA, strategy=["lora", "fine_tune"], offline=True))
        )
    )
    assert answer["recommended"] == expected["recommended"]
    for told, option in zip(answer["options"], expected["options"], strict=True):
        assert told["usd"] == option["cost"]["usd"]
        assert told["wall_hours"] == option["run"]["wall_hours"]
        assert told["memory_bytes"] == option["memory"]["device_used_bytes"]


def test_answers_are_short(talk):
    for answer in talk[1].values():
        assert sum(len(part.text) for part in answer.content) < 12_000


def test_further_fields_reach_the_question(talk):
    assert structured(talk[1]["more"])["options"][0]["epochs"] == 9


def test_where_it_goes_sums_to_the_whole(talk):
    found = structured(talk[1]["where"])
    expected = estimate(Question(model="gpt2", **DATA, strategy=["lora"], offline=True))
    option = expected["options"][0]
    assert sum(found["memory_bytes_by_part"].values()) == pytest.approx(
        option["memory"]["device_used_bytes"]["p50"]
    )
    assert found["run_hours_by_phase"] == option["run"]["breakdown_hours"]


@pytest.mark.parametrize("name", ["path", "closed", "file", "no gpus"])
def test_what_is_refused_is_one_line(talk, name):
    answer = talk[1][name]
    assert answer.is_error
    text = answer.content[0].text
    assert "\n" not in text and "Traceback" not in text and len(text) < 500


def test_names_are_listed(talk):
    assert "Llama-3.2-1B" in structured(talk[1]["models"])["models"]
    gpus = structured(talk[1]["gpus"])["gpus"]
    assert all("h100" in f"{gpu['key']} {gpu['name']}".lower() for gpu in gpus) and gpus
