"""The pictures of README.md and docs/: made by a command, asking the network for nothing."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import pictures
from benchmarks.pictured import screens, whole_runs
from planner import estimate


def asked_for(svg):
    """Addresses that a viewer would fetch, and scripts."""
    root = ElementTree.fromstring(svg)
    styles = "".join(node.text or "" for node in root.iter() if node.tag.endswith("style"))
    links = [value for node in root.iter() for name, value in node.attrib.items() if "href" in name]
    scripts = [node.tag for node in root.iter() if node.tag.endswith(("script", "foreignObject"))]
    return (
        [link for link in links if not link.startswith("#")]
        + re.findall(r"url\((?!#)[^)]*\)|@import", styles)
        + scripts
    )


def test_every_picture_has_a_file_and_words(capsys):
    assert pictures.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {line.split(":")[0] for line in listed} >= {"first_screen.svg", "whole_runs.svg"}
    assert pictures.main(["first_scren.svg"]) == 2
    assert "Did you mean first_screen.svg" in capsys.readouterr().err


def test_the_plot_shows_the_runs_of_the_document(tmp_path):
    text = whole_runs.DOCUMENT.read_text(encoding="utf-8")
    found = whole_runs.runs(text)
    count, error, inside = whole_runs.totals(text)
    errors = sorted(abs(run.p50 / run.reported - 1) for run in found)
    assert len(found) == count
    # the table's hours are rounded, its totals are not
    assert 100 * errors[len(errors) // 2] == pytest.approx(error, abs=1)
    assert round(100 * sum(run.inside for run in found) / count) == inside
    whole_runs.draw(tmp_path)
    svg = (tmp_path / whole_runs.FILE).read_text()
    assert not asked_for(svg) and f"{count} whole runs" in svg


def test_a_row_without_hours_or_trust_is_no_run():
    head = "| run | trust | strategy | reported h | ours (p10 to p90) |\n| - | - | - | - |\n"
    rows = "| a | H | lora | 2,570 | 1,200 (900 to 3,000) |\n| b | L | lora | 2 | 1 (1 to 2) |\n"
    found = whole_runs.runs(f"\n## The runs\n\n{head}{rows}| c | H | lora |  |  |\n\n## Next\n")
    assert found == [whole_runs.Run("a", "lora", 2570.0, 900.0, 1200.0, 3000.0)]
    with pytest.raises(ValueError):
        whole_runs.totals("nothing")


def test_a_screen_shows_what_the_command_prints(tmp_path, monkeypatch):
    monkeypatch.setattr(screens, "TODAY", "2026-11-28")
    arguments = ("estimate", "gpt2", screens.TICKETS, "--gpu", "l4", "--strategy", "lora")
    screens.screen(tmp_path, file="one.svg", arguments=arguments)
    svg = (tmp_path / "one.svg").read_text()
    text = "".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")
    assert not asked_for(svg) and "$ planner estimate gpt2" in text
    answer = estimate("gpt2", screens.ROOT / screens.TICKETS, gpu="l4", strategy="lora")
    from planner.report.words import usd_text

    assert usd_text(answer.best.usd.p50) in text and "lora" in text


def test_a_long_command_is_broken_before_a_flag():
    typed = screens._typed(("estimate", "m" * 52, "--gpu", "rtx-4090", "--spot", "--gpus", "2"))
    assert typed == f"$ planner estimate {'m' * 52} \\\n    --gpu rtx-4090 --spot --gpus 2"


def test_a_screen_of_a_command_that_fails_is_refused(tmp_path):
    with pytest.raises(screens.MachineError, match="estimate gpt2 failed: planner: no data"):
        screens.screen(tmp_path, file="one.svg", arguments=("estimate", "gpt2"))
    assert not list(tmp_path.iterdir())
