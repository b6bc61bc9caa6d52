"""The published claims: every row parses and can be judged either way, the figures are those of the
questions, and docs/claims.md is what the command prints (as far as shipped traces go)."""

import math
import re

import pytest

from benchmarks import claim_figures, claims
from benchmarks.bills.bill import bills
from benchmarks.claim_figures import Answers
from benchmarks.claim_verdicts import (
    CONDITIONS,
    HOLDS,
    UNCHECKED,
    VERDICTS,
    WRONG,
    Case,
    amount_reaching,
    off_by,
    place,
    verdict,
)
from benchmarks.claim_words import percent
from planner import tables
from planner.errors import MachineError, PlannerError
from planner.figures import Estimate
from planner.models.resolve import resolve
from planner.trace import source

DOCUMENT = tables.root().parent / "docs" / "claims.md"
#: What two versions of the program may differ by before docs/claims.md has to be written again.
TOLERANCE = 0.25
CLAIMS = claims.claims()
JUDGED = [claim for claim in CLAIMS if claim.figure != "unchecked"]


def by_id(items):
    return {"argvalues": items, "ids": [item.id for item in items]}


class NotShippedError(PlannerError):
    """A trace that would have to be recorded."""


@pytest.fixture
def shipped_only(monkeypatch, tmp_path):
    """Only shipped traces, and none of this machine's own calibrations."""

    def record(self, regime, length):
        raise NotShippedError("no shipped trace", where=self.facts.name)

    monkeypatch.setattr(source.TraceSource, "_record", record)
    monkeypatch.setattr(source, "cache_folder", lambda: tmp_path)
    monkeypatch.setenv("PLANNER_DEVICES", str(tmp_path))


def inside(claim):
    """A figure in the middle of a claim's range."""
    low, high = claim.low, claim.high
    value = high / 2 if low is None else low * 2 if high is None else (low + high) / 2
    return Case("a", Estimate.exact(value))


def outside(claim):
    """A figure far from it, on a side that is not open."""
    return Case("b", Estimate.exact(claim.high * 1e3 if claim.high else claim.low / 1e3))


@pytest.mark.parametrize("claim", **by_id(JUDGED))
def test_every_claim_can_hold_fail_and_hold_in_part(claim):
    assert verdict(claim.low, claim.high, [inside(claim)]) == HOLDS
    assert verdict(claim.low, claim.high, [outside(claim)]) == WRONG
    assert verdict(claim.low, claim.high, [inside(claim), outside(claim)]) == CONDITIONS


def test_without_cases_nothing_is_said():
    assert verdict(1.0, 2.0, []) == UNCHECKED


@pytest.mark.parametrize(
    "figure, where",
    [
        (Estimate(1, 5, 9), "inside"),
        (Estimate(1, 2, 5), "touches"),
        (Estimate(9, 11, 20), "touches"),
        (Estimate(0.1, 1, 3.9), "outside"),
        (Estimate(11, 12, 13), "outside"),
    ],
)
def test_where_a_figure_lies(figure, where):
    assert place(4, 10, figure) == where
    assert (
        verdict(4, 10, [Case("a", figure)])
        == {"inside": HOLDS, "touches": CONDITIONS, "outside": WRONG}[where]
    )


def test_how_far_off():
    near, far, above = (Case("a", Estimate.exact(value)) for value in (5.0, 0.5, 50.0))
    assert off_by(10, 20, [near, far]) == (0.05, 0.5)
    assert off_by(10, 20, [above]) == (2.5, 2.5)
    assert off_by(10, 20, [near, above]) is None
    assert off_by(10, 20, [Case("a", Estimate.exact(15))]) is None
    assert off_by(0, 1, [above]) == (50.0, 50.0)


def test_amount_on_a_line():
    assert amount_reaching(100.0, (10, 20), (30.0, 40.0)) == pytest.approx(80)
    assert amount_reaching(5.0, (10, 20), (30.0, 40.0)) is None
    assert amount_reaching(100.0, (10, 20), (30.0, 30.0)) is None


def test_rows_name_what_exists():
    questions = {row["id"] for row in tables.rows("claims", "questions.csv")}
    runs = {bill.id for bill in bills() if not bill.refused}
    known = {row["key"] for row in tables.rows("gpus", "gpus.csv")}
    assert {row["gpu"] for row in tables.rows("claims", "questions.csv")} <= known
    for claim in JUDGED:
        assert claim.figure in claim_figures.FIGURES, claim.id
        for part in (part for name in (*claim.cases, *claim.beside) for part in name.split("/")):
            if claim.figure.startswith("gpt4"):
                continue
            assert part in (
                known
                if claim.figure == "price"
                else questions | runs | {f"bill:{run}" for run in runs}
            ), (claim.id, part)
    used = {
        part
        for claim in CLAIMS
        for name in (*claim.cases, *claim.beside)
        for part in name.split("/")
    }
    assert questions <= used, "a question that no claim needs"


def test_every_model_of_the_questions_resolves_without_a_download():
    for name in {row["model"] for row in tables.rows("claims", "questions.csv")}:
        assert resolve(name, offline=True).name


class Fake:
    """An answer in the document's shape whose GPU hours grow with the samples, and which counts how
    often it was asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, **fields):
        self.asked += 1
        hours = 0.5 + fields["samples"] / 1000 * (3 if fields["strategy"] == "fine_tune" else 2)
        figure = {"p10": hours / 2, "p50": hours, "p90": hours * 2}
        option = {
            "variant": None,
            "fits": fields["gpu"] != "rtx-4090",
            "run": {"gpu_hours": figure, "wall_hours": figure},
            "memory": {"device_used_bytes": {"p50": 2**34}, "device_total_bytes": 2**35},
            "training": {"lora": {"rank": fields.get("lora_rank", 16)}},
            "model": {
                "trainable_share": 0.005,
                "checkpoint_bytes": 160 if fields["strategy"] == "fine_tune" else 2,
            },
        }
        return {
            "options": [
                {**option, "variant": "cached features"},
                {**option, "variant": "every epoch"},
            ]
        }


def test_figures_come_from_the_answers():
    fake = Fake()
    answers = Answers(ask=fake)
    ratio = claim_figures.FIGURES["hours_ratio"](answers, "tuned-llama8b-10k/lora-llama8b-10k")
    assert ratio.figure.p50 == pytest.approx(30.5 / 20.5)
    assert claim_figures.FIGURES["hours_cut"](
        answers, "lora-llama8b-10k/tuned-llama8b-10k"
    ).figure.p50 == pytest.approx(1 - 20.5 / 30.5)
    assert fake.asked == 2, "asked once each"
    price = claim_figures.list_price("h200-sxm")
    usd = claim_figures.FIGURES["usd"](answers, "lora-llama8b-10k").figure
    assert (usd.p10, usd.p50, usd.p90) == pytest.approx(
        (10.25 * price.p10, 20.5 * price.p50, 41 * price.p90)
    )
    assert (
        claim_figures.FIGURES["checkpoint_ratio"](
            answers, "tuned-llama8b-10k/lora-llama8b-1k"
        ).figure.p50
        == 80
    )
    assert claim_figures.FIGURES["wall_minutes"](
        answers, "lora-llama8b-10k"
    ).figure.p50 == pytest.approx(20.5 * 60)
    assert answers.option("frozen-bert-500")["variant"] == "every epoch"


def test_what_fits_and_what_does_not():
    answers = Answers(ask=Fake())
    cases = [
        claim_figures.FIGURES["fits"](answers, name)
        for name in ("fits-qlora-14b-24", "fits-qlora-32b-32")
    ]
    assert [case.figure.p50 for case in cases] == [0, 1] and "16.0 GiB of 32.0 GiB" in cases[0].note
    assert verdict(1, None, cases) == CONDITIONS


def test_samples_and_ranks_that_reach_a_figure():
    answers = Answers(ask=Fake())
    assert answers.samples_reaching("lora-llama8b-1k", 1000.0, "gpu_hours") == pytest.approx(
        (1000 - 0.5) / 2 * 1000
    )
    assert claim_figures.rank_training(answers, "lora-llama8b-1k", 0.01) == 32
    assert claim_figures.rank_saving(answers, "lora-llama8b-1k", "tuned-llama8b-10k", 100) == 12


def test_large_runs_and_the_leak():
    reached = claim_figures.large_run_utilisation()
    assert 0.2 < reached.p10 < reached.p50 < reached.p90 < 0.7
    # an hour of an A100 at its full rate
    hours = claim_figures.a100_hours(Estimate.exact(312e12 * 3600))
    assert (hours.p10, hours.p90) == pytest.approx((1 / reached.p90, 1 / reached.p10))
    assert claim_figures.claimed_days() == 95


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0 %"),
        (0.00796, "0.00796 %"),
        (2.05, "2.05 %"),
        (96.1, "96.1 %"),
        (114.39, "114.4 %"),
        (99.138, "99.1 %"),
        (99.99992, "99.99992 %"),
    ],
)
def test_percentages(value, text):
    assert percent(value) == text


# ---------------------------------------------------------------- the document


def written_claims():
    """Claim id → verdict, as docs/claims.md has it."""
    return dict(
        re.findall(
            r"^\| \[.*\]\(#([\w-]+)\) \|.*\| \*\*(.*)\*\* \|$",
            DOCUMENT.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )


def written_questions():
    """Question id → (GPU hours, USD, fits), as docs/claims.md has it."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("## The questions behind it")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ][2:]
    return {
        row[0]: (
            float(row[5].partition(" ")[0].replace(",", "")),
            float(row[6].lstrip("$").replace(",", "")),
            row[8] == "yes",
        )
        for row in rows
    }


def test_the_document_has_every_claim_and_question_of_the_rows():
    assert list(written_claims()) == [claim.id for claim in CLAIMS], (
        "write it again: python benchmarks/claims.py --write docs/claims.md"
    )
    assert set(written_claims().values()) <= set(VERDICTS)
    assert set(written_questions()) == {row["id"] for row in tables.rows("claims", "questions.csv")}


def test_the_document_says_what_the_command_says(shipped_only):
    """The questions of shipped traces asked again; the others would have to be recorded first."""
    answers, written, compared = Answers(), written_questions(), set()
    for name, (hours, usd, fits) in written.items():
        try:
            option = answers.option(name)
        except (NotShippedError, MachineError):
            continue
        compared.add(name)
        assert answers.hours(name).p50 == pytest.approx(hours, rel=TOLERANCE), name
        assert answers.usd(name).p50 == pytest.approx(usd, rel=TOLERANCE, abs=0.01), name
        assert option["fits"] == fits, name
    assert len(compared) >= 15, "the shipped traces no longer answer the questions"
    verdicts, judged = written_claims(), 0
    for claim in CLAIMS:
        parts = {part for name in (*claim.cases, *claim.beside) for part in name.split("/")}
        if parts and parts <= compared:
            measure = claim_figures.FIGURES.get(claim.figure)
            cases = [measure(answers, name) for name in claim.cases] if measure else []
            assert verdict(claim.low, claim.high, cases) == verdicts[claim.id], claim.id
            judged += 1
    assert judged >= 5


def test_the_document_reads_well():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert not re.search(r"[{}]|\bnan\b|\binf\b|None", text)
    assert all(
        math.isfinite(value) and value > 0
        for hours, usd, _ in written_questions().values()
        for value in (hours, usd)
    )
