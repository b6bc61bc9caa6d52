"""``planner prices`` end to end: lists, JSON, contracts, refusals in one line."""

import json

import pytest

from planner.cli import main


@pytest.fixture
def planner(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLANNER_PRICES", str(tmp_path / "own"))

    def call(*arguments):
        code = main.run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_list_shows_price_provider_and_age(planner):
    code, out, err = planner("prices", "--gpu", "h100-sxm", "--on-demand")
    assert (
        code == 0
        and not err
        and "lambda" in out
        and "2026-" in out
        and " d" in out
        and "Where sources disagree" in out
    )


def test_json_holds_prices_and_disagreements(planner):
    code, out, _ = planner("prices", "--provider", "nebius", "--json")
    found = json.loads(out)
    assert (
        code == 0 and found["prices"] and found["disagreements"] and found["stale_after_days"] == 90
    )
    assert all(
        one["provider"] == "nebius" and one["age_days"] is not None for one in found["prices"]
    )
    everything = json.loads(planner("prices", "--provider", "nebius", "--all", "--json")[1])
    assert any(
        one["status"] == "refused" and one["reason"] == "undated" for one in everything["prices"]
    )


def test_contracts_are_imported_and_used(planner, tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("provider,gpu,usd_per_gpu_hour,commitment\nacme,a100-sxm-80,0.5,3y\n")
    code, out, err = planner("prices", "import", file)
    assert code == 0 and "acme.csv" in out and not err
    code, out, _ = planner("prices", "--provider", "acme")
    assert code == 0 and "$0.50" in out and "3y" in out
    code, out, _ = planner(
        "estimate",
        "gpt2",
        "--samples",
        "1000",
        "--tokens-per-sample",
        "100",
        "--strategy",
        "lora",
        "--gpu",
        "a100-sxm-80",
        "--json",
    )
    assert code == 0 and json.loads(out)["options"][0]["provider"] == "acme"


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (("prices", "--gpu", "h1000"), "h1000"),
        (("prices", "--provider", "lamda"), "lambda"),
        (("prices", "import", "missing.csv"), "missing.csv"),
        (("prices", "refreshh"), "refreshh"),
    ],
)
def test_what_is_wrong_is_one_line(planner, arguments, complaint):
    code, out, err = planner(*arguments)
    assert (
        code == 2
        and not out
        and complaint in err
        and err.count("\n") == 1
        and "Traceback" not in err
    )


def test_nothing_known_says_how_to_see_more(planner):
    code, out, _ = planner("prices", "--gpu", "tpu-v3", "--spot")
    assert code == 0 and "--all" in out
