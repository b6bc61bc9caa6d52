"""What articles on transfer learning repeat about cost, answered by this planner: claim, our
figure, verdict, explanation.

    python benchmarks/claims.py [--only ID ...] [--json] [--write docs/claims.md]

The claims, the questions and the outside facts are rows of ``profiles/claims/``; every figure is
computed here. Models without a shipped trace are traced once (torch is needed for them), then kept
in the cache.
"""

from __future__ import annotations

import argparse
import json
import math
import string
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import claim_figures as figures  # noqa: E402
from benchmarks.claim_figures import BILL, Answers, fact, published  # noqa: E402
from benchmarks.claim_verdicts import (
    CONDITIONS,
    HOLDS,
    UNCHECKED,
    VERDICTS,
    WRONG,
    Case,
    off_by,
    verdict,
)  # noqa: E402
from benchmarks.published_bills import isolated, price_date  # noqa: E402
from planner import tables  # noqa: E402
from planner.cost.prices.offers import offers  # noqa: E402
from planner.figures import Estimate  # noqa: E402
from planner.units import format_bytes, format_usd  # noqa: E402

#: A claim is said to be reached at so many samples for at most this many of its cases.
REACHED_CASES = 2
#: How the sentence on the condition begins, by verdict.
LEADS = {
    HOLDS: "Condition",
    CONDITIONS: "Condition",
    WRONG: "What would make it right",
    UNCHECKED: "Note",
}
#: Figures whose distance from the claim is no factor.
NO_FACTOR = ("fits", "hours_cut", "data_cut")


@dataclass(frozen=True)
class Claim:
    """A row of claims.csv. ``cases`` are judged, ``beside`` only shown; ``low`` and ``high``: None
    is an open end."""

    id: str
    topic: str
    text: str
    figure: str
    low: float | None
    high: float | None
    unit: str
    cases: tuple[str, ...]
    beside: tuple[str, ...]
    explanation: str
    condition: str
    source: str
    date: str


@dataclass(frozen=True)
class Checked:
    """A claim with our figures and the verdict; sentences with their numbers filled in."""

    claim: Claim
    cases: tuple[Case, ...]
    beside: tuple[Case, ...]
    verdict: str
    explanation: str
    condition: str


def claims() -> list[Claim]:
    return [_claim(row) for row in tables.rows("claims", "claims.csv")]


def _claim(row: dict[str, str]) -> Claim:
    judged, _, beside = row["cases"].partition(";")
    return Claim(
        row["id"],
        row["topic"],
        row["claim"],
        row["figure"],
        tables.number(row["low"]),
        tables.number(row["high"]),
        row["unit"],
        tuple(judged.split()),
        tuple(beside.split()),
        row["explanation"],
        row["condition"],
        row["source"],
        row["date"],
    )


def check(claim: Claim, answers: Answers, numbers: Numbers) -> Checked:
    """Raises PlannerError where a question of the claim cannot be answered."""
    measure = figures.FIGURES.get(claim.figure)
    cases, beside = (
        tuple(measure(answers, name) for name in names) if measure else ()
        for names in (claim.cases, claim.beside)
    )
    result = verdict(claim.low, claim.high, cases)
    fill = Filled(numbers, claim)
    return Checked(claim, cases, beside, result, fill(claim.explanation), fill(claim.condition))


class Numbers:
    """The numbers that the sentences of claims.csv name in braces, each computed when it is asked
    for."""

    def __init__(self, answers: Answers):
        self.answers = answers

    @cached_property
    def large_mfu(self) -> Estimate:
        return figures.large_run_utilisation()

    def text(self, name: str, claim: Claim) -> str:
        """Raises KeyError for a name that nothing computes."""
        if name in ("reach", "reach_high"):
            return self.reach(claim, claim.high if name == "reach_high" else claim.low)
        return self._plain()[name]()

    def _plain(self) -> dict:
        leaked = figures.leaked_flops
        return {
            "price_date": lambda: price_date().isoformat(),
            "large_billion": lambda: f"{fact('gpt4_large_run_billion').p50:g}",
            "large_mfu_low": lambda: f"{self.large_mfu.p10:.0%}",
            "large_mfu_high": lambda: f"{self.large_mfu.p90:.0%}",
            "gpt4_flops": lambda: f"{fact('gpt4_flops').p50:.1e}",
            "gpt4_gpus": lambda: f"{fact('gpt4_gpus').p50:,.0f}",
            "gpt4_usd_leak": lambda: _span(
                figures.a100_hours(leaked()).scale(fact("gpt4_usd_per_gpu_hour").p50), "usd"
            ),
            "gpt4_usd_listed": lambda: _span(
                figures.FIGURES["gpt4_usd"](self.answers, "").figure, "usd"
            ),
            "gpt4_days_range": lambda: _span(
                figures.FIGURES["gpt4_days"](self.answers, "").figure, "days"
            ),
            "gpt4_gpus_for_95": lambda: _three_figures(
                figures.FIGURES["gpt4_gpus"](self.answers, "").figure.p50
            ),
            "gpt4_mfu_six_months": lambda: f"{self._six_months_share() * self.large_mfu.p50:.0%}",
            "gpt4_gpus_six_months": lambda: _three_figures(
                self._six_months_share() * fact("gpt4_gpus").p50
            ),
            "hours_100k_tokens_7b": lambda: self._tokens_for("llama-2-7b", 1e5, "hours"),
            "usd_10m_tokens_70b": lambda: self._tokens_for("llama-2-70b", 1e7, "usd"),
            "usd_50k_tokens_1b": lambda: self._tokens_for("pythia-1b", 5e4, "usd"),
            "a100_prices": self._a100_prices,
            "a100_low": lambda: format_usd(figures.list_price("a100-sxm-80").p10),
            "a100_high": lambda: format_usd(figures.list_price("a100-sxm-80").p90),
            "flops_ratio_8b": lambda: (
                f"{self._flops('tuned-llama8b-10k') / self._flops('lora-llama8b-10k'):.2g}"
            ),
            "rank_for_100": lambda: str(
                figures.rank_saving(self.answers, "lora-llama8b-1k", "tuned-llama8b-10k", 100)
            ),
            "rank_for_one_percent": lambda: str(
                figures.rank_training(self.answers, "lora-llama8b-1k", 0.01)
            ),
            "lora_paper_speedup": lambda: f"{fact('lora_paper_speedup').p50:.2g}",
            "frozen_rule": _frozen_rule,
        }

    def _six_months_share(self) -> float:
        claimed = next(claim for claim in claims() if claim.id == "gpt4-months")
        return figures.FIGURES["gpt4_days"](self.answers, "").figure.p50 / (
            (claimed.low + claimed.high) / 2
        )

    def _tokens_for(self, bill: str, target: float, what: str) -> str:
        """Tokens through the model of a published run at which our hours or dollars are
        ``target``."""
        name = BILL + bill
        ours = self.answers.usd(name) if what == "usd" else self.answers.hours(name)
        return _count(published(bill).amount * target / ours.p50)

    def _flops(self, name: str) -> float:
        step = self.answers.option(name)["step"]
        return step["model_flops"] / (step["micro_batch_size"] * step["gradient_accumulation"])

    def _a100_prices(self) -> str:
        cheapest: dict[str, float] = {}
        for offer in offers("a100-sxm-80", gpus=figures.HOST_GPUS, on_date=price_date()):
            cheapest.setdefault(
                offer.provider, offer.usd_per_hour_for(figures.HOST_GPUS) / figures.HOST_GPUS
            )
        return ", ".join(
            f"{provider} {format_usd(price)}"
            for provider, price in sorted(cheapest.items(), key=lambda item: item[1])
        )

    def reach(self, claim: Claim, target: float) -> str:
        """For the dearest and the cheapest question of a claim: the samples at which it would cost
        ``target``."""
        questions = sorted(
            (name for name in claim.cases if not name.startswith(BILL)),
            key=lambda name: -self.answers.usd(name).p50,
        )
        parts = []
        for name in dict.fromkeys([questions[0], questions[-1]][:REACHED_CASES]):
            samples = self.answers.samples_reaching(name, target, claim.figure)
            if samples is not None:
                row = figures.question_row(name)
                parts.append(
                    f"{row['strategy']} of {row['model']} reaches "
                    f"{_figure(target, claim.unit)} at about {_count(samples)} samples"
                )
        return "; ".join(parts) + "."


class Filled:
    """Fills the braces of a sentence."""

    def __init__(self, numbers: Numbers, claim: Claim):
        self.numbers, self.claim = numbers, claim

    def __call__(self, sentence: str) -> str:
        names = [name for _, name, _, _ in string.Formatter().parse(sentence) if name]
        return sentence.format(**{name: self.numbers.text(name, self.claim) for name in names})


def _frozen_rule() -> str:
    row = next(
        row
        for row in tables.rows("rules", "recommendation.csv")
        if row["strategy"] == "feature_extraction" and row["max_samples"]
    )
    return f"up to {row['max_samples']} samples, {row['source']}"


# ---------------------------------------------------------------- Markdown


def report(checked: list[Checked], answers: Answers) -> str:
    counts = Counter(one.verdict for one in checked)
    lines = [
        _HEAD.format(date=price_date()),
        ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]) + ".",
        "",
        "| claim | our figure | verdict |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| [{one.claim.text}](#{one.claim.id}) | {_summary(one)} | **{one.verdict}** |"
        for one in checked
    ]
    for topic in dict.fromkeys(one.claim.topic for one in checked):
        lines += ["", f"## {topic}"]
        for one in checked:
            if one.claim.topic == topic:
                lines += _section(one)
    return "\n".join([*lines, "", *_questions(answers)]) + "\n"


def _section(one: Checked) -> list[str]:
    claim = one.claim
    lines = [
        "",
        f'<a id="{claim.id}"></a>',
        f"### {claim.text}",
        "",
        f"**{one.verdict.capitalize()}.** {one.explanation}{_miss(one)}",
    ]
    if one.condition:
        lines += ["", f"{LEADS[one.verdict]}: {one.condition[0].lower() + one.condition[1:]}"]
    lines += [""] + [
        f"- {_case_name(case)}: {_shown(case, claim)}" for case in (*one.cases, *one.beside)
    ]
    return lines + ["", f"Claim: {claim.source} ({claim.date})."]


def _miss(one: Checked) -> str:
    """How far off a wrong claim is, where every case misses on one side; of shares that are cut and
    of what fits no factor would tell."""
    factors = off_by(one.claim.low, one.claim.high, one.cases)
    if factors is None or one.verdict != WRONG or one.claim.figure in NO_FACTOR:
        return ""
    small, large = factors if factors[0] > 1 else (1 / factors[1], 1 / factors[0])
    span = (
        f"{small:.2g}"
        if f"{small:.2g}" == f"{large:.2g}"
        else f"{small:.2g} to {large:,.2g}"
        if large < 100
        else f"{small:.2g} to {large:,.0f}"
    )
    return f" Ours are {span} times {'above' if factors[0] > 1 else 'below'} the claimed range."


def _summary(one: Checked) -> str:
    if not one.cases:
        return ""
    if one.claim.figure == "fits":
        return "; ".join(f"{case.note}" for case in one.cases)
    middles = [case.figure.p50 for case in one.cases]
    if len(middles) == 1:
        return _shown(one.cases[0], one.claim)
    return (
        f"{_figure(min(middles), one.claim.unit)} to "
        f"{_figure(max(middles), one.claim.unit)} over {len(middles)} cases"
    )


def _shown(case: Case, claim: Claim) -> str:
    if claim.figure == "fits":
        return f"{'fits' if case.figure.p50 else 'does not fit'}, {case.note}"
    return _span(case.figure, claim.unit) + (f" ({case.note})" if case.note else "")


def _span(figure: Estimate, unit: str) -> str:
    """Middle with its unit, p10 and p90 in brackets without; the middle alone where there is no
    range."""
    middle, low, high = (_figure(value, unit) for value in (figure.p50, figure.p10, figure.p90))
    return (
        middle
        if low == high
        else f"{middle} ({low.removesuffix(f' {unit}')} to {high.removesuffix(f' {unit}')})"
    )


def _figure(value: float, unit: str) -> str:
    if unit.startswith("usd"):
        return _dollars(value)
    return _percent(100 * value) if unit == "share" else f"{_three_figures(value)} {unit}".strip()


def _dollars(usd: float) -> str:
    if usd < 1000:
        return format_usd(usd)
    return f"${usd / 1e6:,.3g}M" if usd >= 1e6 else f"${_three_figures(usd)}"


def _percent(value: float) -> str:
    """Three figures; close below a hundred, three figures of what lacks to it."""
    tail = 100 - value if 99.9 < value < 100 else abs(value)
    digits = max(0, 2 - math.floor(math.log10(tail))) if 0 < tail < 10 else 1
    text = f"{value:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def _count(value: float) -> str:
    """Two figures: 23,000,000 samples, 1.2T tokens."""
    rounded = float(f"{value:.2g}")
    return (
        f"{rounded:,.0f}"
        if rounded < 1e9
        else f"{rounded / 1e12:g}T"
        if rounded >= 1e12
        else f"{rounded / 1e9:g}B"
    )


def _three_figures(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def _case_name(case: Case) -> str:
    return " / ".join(
        f"published run {part.removeprefix(BILL)}, our bill" if part.startswith(BILL) else part
        for part in case.name.split("/")
    )


def _questions(answers: Answers) -> list[str]:
    """What was asked, one line a question: the figures of the claims are made of these."""
    lines = [
        "## The questions behind it",
        "",
        "| question | model | strategy | GPU | samples | GPU h (p10 to p90) | compute | memory "
        "of the GPU | fits |",
        "| --- | --- | --- | --- | --: | --- | --: | --- | --- |",
    ]
    for row in tables.rows("claims", "questions.csv"):
        option, hours = answers.option(row["id"]), answers.hours(row["id"])
        size = f"{int(row['samples']):,}" + (
            f" x {row['tokens_per_sample']} tokens" if row["tokens_per_sample"] else ""
        )
        lines.append(
            f"| {row['id']} | {row['model']} | "
            f"{row['strategy']}{', ' + row['fields'] if row['fields'] else ''} | {row['gpu']} "
            f"| {size} | "
            f"{_span(hours, '')} | {_figure(answers.usd(row['id']).p50, 'usd')} | "
            f"{format_bytes(option['memory']['device_used_bytes']['p50'])} of "
            f"{format_bytes(option['memory']['device_total_bytes'])} | "
            f"{'yes' if option['fits'] else 'no'} |"
        )
    return lines


_HEAD = """# Published claims about the cost of training, checked

Written by `python benchmarks/claims.py --write docs/claims.md`; every figure is computed by it, the sentences are rows of
`profiles/claims/claims.csv`. A claim **holds** when our middle lies in its range in every case asked, **holds under
conditions** when it does in some (or our p10 to p90 reaches it), and is **wrong** otherwise. Dollars are compute alone, for
one run that works at the first attempt: GPU hours at the list prices of {date}, the middle one of the providers that rent as
many GPUs as are used (from a tenth of the providers with p10 of the hours to nine tenths with p90). Published runs are billed as in [published_bills.md](published_bills.md).
Nothing here says how good the model becomes.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="ids of claims")
    parser.add_argument("--json", action="store_true", help="the checked claims as JSON")
    parser.add_argument(
        "--write", type=Path, help="write the Markdown there instead of printing it"
    )
    options = parser.parse_args(arguments)
    isolated()
    answers = Answers()
    numbers = Numbers(answers)
    checked = [
        check(claim, answers, numbers)
        for claim in claims()
        if not options.only or claim.id in options.only
    ]
    text = (
        json.dumps([asdict(one) for one in checked], indent=1)
        if options.json
        else report(checked, answers)
    )
    if options.write:
        options.write.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
