"""Our figures for the published claims: what the planner answers to
``profiles/claims/questions.csv`` and to the published bills.

Dollars are compute alone: our hours at list prices of one stated day, from the cheap providers
(with p10 of the hours) over the middle one to the dear ones (with p90). Ratios compare middles,
since the errors of both sides are largely the same.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from benchmarks.bills.asking import Answered, answer
from benchmarks.bills.bill import Bill, bills, fact
from benchmarks.bills.prices import HOST_GPUS, inverse, price_date
from benchmarks.claim_verdicts import Case, amount_reaching
from benchmarks.whole.answers import Answers as BillAnswers
from planner import estimate, tables
from planner.cost.prices.offers import offers, price_range
from planner.devices.lookup import resolve_device
from planner.errors import ProfileError, QuestionError
from planner.figures import Estimate
from planner.units import SECONDS_PER_HOUR, format_bytes

HOURS_PER_DAY = 24
MINUTES_PER_HOUR = 60
BILL = "bill:"


@dataclass
class Answers:
    """The planner's answers, each asked once. ``ask`` is ``planner.estimate``."""

    ask: Callable[..., dict] = estimate
    _options: dict[tuple[str, int], dict] = field(default_factory=dict)
    _bills: dict[str, Answered] = field(default_factory=dict)

    def option(self, name: str, samples: int | None = None) -> dict:
        """The option of a row of questions.csv, with other ``samples`` if given. Raises
        PlannerError."""
        row = question_row(name)
        key = name, samples or int(row["samples"])
        if key not in self._options:
            found = self.ask(**fields_of(row) | {"samples": key[1]})["options"]
            self._options[key] = next(
                (o for o in found if not row["variant"] or o["variant"] == row["variant"]), found[0]
            )
        return self._options[key]

    def bill(self, name: str) -> Answered:
        if name not in self._bills:
            self._bills[name] = answer(published(name), BillAnswers(self.ask))
        return self._bills[name]

    def hours(self, name: str, samples: int | None = None) -> Estimate:
        """GPU hours of a question, or of a published run as we would bill it."""
        if name.startswith(BILL):
            return self.bill(name.removeprefix(BILL)).gpu_hours
        found = self.option(name, samples)["run"]["gpu_hours"]
        return Estimate(found["p10"], found["p50"], found["p90"])

    def usd(self, name: str, samples: int | None = None) -> Estimate:
        if name.startswith(BILL):
            return at_list_price(
                published(name.removeprefix(BILL)).gpu, self.hours(name), HOST_GPUS
            )
        return at_list_price(question_row(name)["gpu"], self.hours(name, samples), 1)

    def amount(self, name: str) -> float:
        """What is seen at least once: tokens of text, else samples."""
        if name.startswith(BILL):
            return published(name.removeprefix(BILL)).amount
        row = question_row(name)
        return float(row["samples"]) * float(row["tokens_per_sample"] or 1)

    def samples_reaching(self, name: str, target: float, figure: str) -> float | None:
        """The samples at which dollars (``usd``) or GPU hours reach ``target``, by two questions
        and the line through them."""
        measure = self.usd if figure == "usd" else self.hours
        first = int(question_row(name)["samples"])
        second = max(10 * first, 100_000)
        return amount_reaching(
            target, (first, second), (measure(name).p50, measure(name, second).p50)
        )


def question_row(name: str) -> dict[str, str]:
    for row in tables.rows("claims", "questions.csv"):
        if row["id"] == name:
            return row
    raise ProfileError(f"no question {name!r}", where="profiles/claims/questions.csv")


def fields_of(row: dict[str, str]) -> dict:
    """The planner's question of a row. The price is given only so that none is looked up: dollars
    are worked out here."""
    asked = {
        "question": row["model"],
        "strategy": row["strategy"],
        "gpu": row["gpu"],
        "samples": int(row["samples"]),
        "price": 1.0,
        "offline": True,
    }
    if row["tokens_per_sample"]:
        asked["tokens_per_sample"] = float(row["tokens_per_sample"])
    for part in row["fields"].split():
        name, _, value = part.partition("=")
        asked[name] = int(value) if value.isdigit() else value
    return asked


def published(name: str) -> Bill:
    for bill in bills():
        if bill.id == name:
            return bill
    raise ProfileError(f"no published run {name!r}", where="profiles/measured/published_totals.csv")


@cache
def list_price(gpu: str, gpus: int = 1) -> Estimate:
    """USD per GPU-hour on the day of the prices, over the providers that rent so many at a time
    (over all where none does): a tenth, half, nine tenths. Raises QuestionError without one."""
    every = offers(gpu, gpus=gpus, on_date=price_date())
    whole = [offer for offer in every if offer.instances_for(gpus) * (offer.gpu_count or 1) == gpus]
    found = price_range(whole or every, gpus)
    if found is None:
        raise QuestionError(f"no list price of {gpu}", where="profiles/prices")
    return found


def at_list_price(gpu: str, hours: Estimate, gpus: int) -> Estimate:
    price = list_price(gpu, gpus)
    return Estimate(hours.p10 * price.p10, hours.p50 * price.p50, hours.p90 * price.p90)


# -------------------------------- one function a kind of figure: (answers, case) → Case


def _usd(answers: Answers, name: str) -> Case:
    return Case(name, answers.usd(name))


def _hours(answers: Answers, name: str) -> Case:
    return Case(name, answers.hours(name))


def _wall_minutes(answers: Answers, name: str) -> Case:
    found = answers.option(name)["run"]["wall_hours"]
    return Case(name, Estimate(found["p10"], found["p50"], found["p90"]).scale(MINUTES_PER_HOUR))


def _days(answers: Answers, name: str) -> Case:
    return Case(name, answers.hours(name).scale(1 / HOURS_PER_DAY))


def _bill_hours(answers: Answers, name: str) -> Case:
    return _hours(answers, BILL + name)


def _bill_usd(answers: Answers, name: str) -> Case:
    return _usd(answers, BILL + name)


def _bill_days(answers: Answers, name: str) -> Case:
    gpus = published(name).gpus
    return Case(
        BILL + name, answers.bill(name).gpu_hours.scale(1 / gpus / HOURS_PER_DAY), f"on {gpus} GPUs"
    )


def _price(answers: Answers, gpu: str) -> Case:
    return Case(gpu, list_price(gpu, HOST_GPUS))


def _pair(
    measure: Callable[[Answers, str], float], turn: Callable[[float], float] = lambda ratio: ratio
):
    def figure(answers: Answers, names: str) -> Case:
        one, other = names.split("/")
        return Case(names, Estimate.exact(turn(measure(answers, one) / measure(answers, other))))

    return figure


def _fits(answers: Answers, name: str) -> Case:
    """1 where it fits, else 0; the note says how much of how much."""
    option = answers.option(name)
    used, total = option["memory"]["device_used_bytes"], option["memory"]["device_total_bytes"]
    return Case(
        name,
        Estimate.exact(float(option["fits"])),
        f"{format_bytes(used['p50'])} of {format_bytes(total)}",
    )


def _trainable(answers: Answers, name: str) -> Case:
    return Case(name, Estimate.exact(answers.option(name)["model"]["trainable_share"]))


def large_run_utilisation() -> Estimate:
    """Least, middle and most share of the peak rate that published runs of large models reached on
    A100: 6 FLOP a parameter and token (Kaplan et al. 2020, arXiv 2001.08361) over their GPU hours.
    """
    least = fact("gpt4_large_run_billion").p50 * 1e9
    found = [
        6 * bill.parameters * bill.amount / (bill.gpu_hours * SECONDS_PER_HOUR * _peak(bill.gpu))
        for bill in bills()
        if not bill.refused
        and bill.unit == "tokens"
        and bill.gpu.startswith("a100")
        and (bill.parameters or 0) >= least
    ]
    return Estimate(min(found), statistics.median(found), max(found))


@cache
def _peak(gpu: str) -> float:
    return resolve_device(gpu).spec.peak("bf16")


def a100_hours(flops: Estimate) -> Estimate:
    """GPU hours of that many FLOP at the utilisation of large runs; every low end with every low
    end, the widest range."""
    rate = inverse(large_run_utilisation())
    per_flop = 1 / _peak("a100-sxm-80") / SECONDS_PER_HOUR
    return Estimate(
        flops.p10 * rate.p10 * per_flop,
        flops.p50 * rate.p50 * per_flop,
        flops.p90 * rate.p90 * per_flop,
    )


def leaked_flops() -> Estimate:
    active, tokens = fact("gpt4_active_parameters"), fact("gpt4_tokens")
    return Estimate(
        *(6 * getattr(active, key) * getattr(tokens, key) for key in ("p10", "p50", "p90"))
    )


def _gpt4_usd(answers: Answers, name: str) -> Case:
    return Case(name, at_list_price("a100-sxm-80", a100_hours(fact("gpt4_flops")), HOST_GPUS))


def _gpt4_days(answers: Answers, name: str) -> Case:
    return Case(name, a100_hours(leaked_flops()).scale(1 / fact("gpt4_gpus").p50 / HOURS_PER_DAY))


def _gpt4_gpus(answers: Answers, name: str) -> Case:
    return Case(name, a100_hours(leaked_flops()).scale(1 / claimed_days() / HOURS_PER_DAY))


def claimed_days() -> float:
    row = next(row for row in tables.rows("claims", "claims.csv") if row["id"] == "gpt4-days")
    return (float(row["low"]) + float(row["high"])) / 2


def _checkpoint(answers: Answers, name: str) -> float:
    return answers.option(name)["model"]["checkpoint_bytes"]


FIGURES: dict[str, Callable[[Answers, str], Case]] = {
    "usd": _usd,
    "gpu_hours": _hours,
    "wall_minutes": _wall_minutes,
    "days": _days,
    "bill_hours": _bill_hours,
    "bill_usd": _bill_usd,
    "bill_days": _bill_days,
    "price": _price,
    "fits": _fits,
    "trainable_share": _trainable,
    "hours_cut": _pair(lambda answers, name: answers.hours(name).p50, lambda ratio: 1 - ratio),
    "hours_ratio": _pair(lambda answers, name: answers.hours(name).p50),
    "usd_share": _pair(lambda answers, name: answers.usd(name).p50),
    "data_cut": _pair(lambda answers, name: answers.amount(name), lambda ratio: 1 - ratio),
    "checkpoint_ratio": _pair(_checkpoint),
    "gpt4_usd": _gpt4_usd,
    "gpt4_days": _gpt4_days,
    "gpt4_gpus": _gpt4_gpus,
}


def rank_training(answers: Answers, name: str, share: float) -> int:
    """The largest rank at which the adapters of a question are at most this share of the
    parameters: they grow with the rank."""
    option = answers.option(name)
    return math.floor(
        share / option["model"]["trainable_share"] * option["training"]["lora"]["rank"]
    )


def rank_saving(answers: Answers, adapters: str, whole: str, times: float) -> int:
    """The largest rank whose checkpoint is at least so many times smaller than the whole
    model's."""
    option = answers.option(adapters)
    ratio = _checkpoint(answers, whole) / option["model"]["checkpoint_bytes"]
    return math.floor(option["training"]["lora"]["rank"] * ratio / times)
