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
import string
import sys
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import claim_figures as figures  # noqa: E402
from benchmarks.bills.prices import price_date  # noqa: E402
from benchmarks.claim_figures import BILL, Answers, fact, published  # noqa: E402
from benchmarks.claim_report import report  # noqa: E402
from benchmarks.claim_rows import Checked, Claim, claims  # noqa: E402
from benchmarks.claim_verdicts import verdict  # noqa: E402
from benchmarks.claim_words import count, figure, span, three_figures  # noqa: E402
from benchmarks.whole.answers import isolated  # noqa: E402
from planner import tables  # noqa: E402
from planner.cost.prices.offers import offers  # noqa: E402
from planner.figures import Estimate  # noqa: E402
from planner.units import format_usd  # noqa: E402

#: A claim is said to be reached at so many samples for at most this many of its cases.
REACHED_CASES = 2


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
            "gpt4_usd_leak": lambda: span(
                figures.a100_hours(leaked()).scale(fact("gpt4_usd_per_gpu_hour").p50), "usd"
            ),
            "gpt4_usd_listed": lambda: span(
                figures.FIGURES["gpt4_usd"](self.answers, "").figure, "usd"
            ),
            "gpt4_days_range": lambda: span(
                figures.FIGURES["gpt4_days"](self.answers, "").figure, "days"
            ),
            "gpt4_gpus_for_95": lambda: three_figures(
                figures.FIGURES["gpt4_gpus"](self.answers, "").figure.p50
            ),
            "gpt4_mfu_six_months": lambda: f"{self._six_months_share() * self.large_mfu.p50:.0%}",
            "gpt4_gpus_six_months": lambda: three_figures(
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
        return count(published(bill).amount * target / ours.p50)

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
                    f"{figure(target, claim.unit)} at about {count(samples)} samples"
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
