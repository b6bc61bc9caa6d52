"""A schema-true budget around any answer, made without asking anything anew: for tests of formats
alone. Figures are the answer's or multiples of them; nobody decides by this."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from planner.budget.schema import validated
from planner.cost.repeats import habits

HERE = Path(__file__).parent
DAY = "2026-11-28"
HOSTILE = (
    "=1+1",
    "+SUM(A1:A9)",
    "-2+3",
    "@SUM(1)",
    '=HYPERLINK("http://example.invalid","x")',
    "=cmd|'/c calc'!A0",
    "\t=1+1",
    "<script>alert(1)</script>",
    '#import "x": *',
    '#read("/etc/passwd")',
    "$ sum $ _x_ *y* `z` @a <b> \\ // /* */",
    "[link](javascript:alert(1))",
    "\x1b[31mred\x1b[0m",
    "../../etc/passwd",
    "{{ 7*7 }}",
    "\udcff",
    "line\nbreak",
    "_x0041_",
    "\x00null",
)


def sample_answer():
    return json.loads((HERE / "sample_answer.json").read_text(encoding="utf-8"))


def with_budget(answer, *, at="recommended", hostile=None):
    """The answer with a budget of its option ``at`` (None: of nothing). ``hostile``: a text that
    stands in every place where a name does."""
    answer = copy.deepcopy(answer)
    if at == "recommended":
        at = _recommended(answer)
    if at is None:
        answer["recommended"] = None
    option = None if at is None else answer["options"][at]
    answer["budget"] = _budget(answer, option, at)
    if hostile is not None:
        _poison(answer, hostile)
    return validated(answer)


def _recommended(answer):
    chosen = answer["recommended"]
    return next(
        at
        for at, option in enumerate(answer["options"])
        if option["strategy"] == chosen["strategy"] and option["gpu"] == chosen["gpu"]
    )


def _budget(answer, option, at):
    run, cost = (option or {}).get("run"), (option or {}).get("cost")
    usd = cost["usd"] if cost else None
    second = next((k for k in range(len(answer["options"])) if k != at), None)
    return {
        "title": "What it costs",
        "question": "Tune the model on the data, as the question says.",
        "headline": {
            "option": at,
            "strategy": option and option["strategy"],
            "variant": option and option["variant"],
            "model": (answer["model"] or {}).get("name", "unknown"),
            "data": "20,000 records, mean 192 tokens",
            "gpu": option and option["gpu"],
            "gpus": option["gpus"] if option else 0,
            "provider": option and option["provider"],
            "usd": usd,
            "wall_hours": run and run["wall_hours"],
            "gpu_hours": run and run["gpu_hours"],
            "price_date": cost and cost["price_date"],
            "price_age_days": 12 if cost else None,
            "price_stale": False,
        },
        "recommended": None
        if option is None
        else {"option": at, "why": "the cheapest that fits", "usd_more": 0.0, "hours_more": 0.0},
        "runner_up": None
        if option is None or second is None
        else {"option": second, "why": "the next", "usd_more": 1.5, "hours_more": 0.25},
        "decisive": [{"topic": "price", "text": "prices are 12 days old", "warning": True}],
        "lines": _lines(option, answer["question"].get("trials", 1)),
        "project": _project(option),
        "offers": _offers(option),
        "stages": _stages(option),
        "sensitivity": _sensitivity(usd, run),
        "chances": [] if not usd else _chances(usd),
        "chance_over_limit": None if not usd else 0.07,
        "time": []
        if not run
        else [
            {"phase": phase, "part": None, "hours": hours, "share": 0.2}
            for phase, hours in run["breakdown_hours"].items()
        ],
        "accuracy": _ACCURACY,
        "enough": [
            {"strategy": "lora", "verdict": "enough", "needed": "1,000 samples", "source": "LIMA"}
        ],
        "prices": []
        if not cost or not cost["usd_per_gpu_hour"]
        else [
            {
                "provider": option["provider"] or "given",
                "gpu": option["gpu"],
                "usd_per_gpu_hour": cost["usd_per_gpu_hour"],
                "date": "2026-11-16",
                "age_days": 12,
                "stale": False,
                "source": "a price list",
            }
        ],
        "reproduce": {
            "command": "planner report model data -o budget.xlsx",
            "python": 'estimate("model", data="data")',
            "version": "0.1.0",
            "made": DAY,
        },
        "glossary": [{"term": "GPU-hour", "meaning": "One GPU rented for one hour."}],
        "left_out": ["retrieval: no documents were given (--corpus-tokens)"],
    }


_ACCURACY = {
    "like": "LoRA of a language model",
    "runs": 12,
    "median_error": 0.11,
    "within_30_percent": 0.75,
    "inside_range": 0.83,
    "bias": -0.04,
    "shown": [
        {
            "name": "alpaca-lora",
            "strategy": "lora",
            "gpu": "RTX 4090",
            "reported_hours": 5.0,
            "planned_hours": 4.6,
            "error": -0.08,
            "source": "README",
        }
    ],
    "source": "docs/whole_runs.md",
}


PHASES = {
    "preparation": "Preparing the data",
    "start_up": "Starting up",
    "training": "Training",
    "evaluation": "Evaluation",
    "saving": "Saving checkpoints",
    "interruptions": "Work lost to interruptions",
    "stragglers": "Waiting for the slowest devices",
}


def _line(name, quantity, unit, price, usd):
    return {
        "group": "run",
        "name": name,
        "quantity": quantity,
        "unit": unit,
        "usd_per_unit": price,
        "usd": usd,
        "note": None,
        "source": "a price list",
        "date": "2026-11-16",
    }


def _lines(option, trials):
    cost = (option or {}).get("cost")
    if not cost:
        return []
    rate, parts, run = cost["usd_per_gpu_hour"], cost["breakdown"], option.get("run")
    rented = parts["compute"] + parts.get("lost_work", 0.0)
    found = []
    if run and rate:
        hours = {phase: h * option["gpus"] for phase, h in run["breakdown_hours"].items()}
        hours["rounding"] = max(0.0, rented / rate - sum(hours.values()))
        names = PHASES | {"rounding": "Rounding up by the provider"}
        found += [_line(names[k], h, "GPU-hours", rate, h * rate) for k, h in hours.items() if h]
    if repeats := parts.get("repeats"):
        further = trials - 1.0
        failed = repeats / rented - further
        found += [
            _line(name, count, "runs", rented, count * rented)
            for name, count in (("Further trials", further), ("Runs that fail", failed))
            if count > 1e-9
        ]
    for part in ("data", "storage", "egress", "api", *(() if run else ("compute",))):
        if usd := parts.get(part):
            found.append(_line(part, 1.0, "in all", usd, usd))
    return found


def _project(option):
    """As ``Habits.usd`` has it."""
    cost = (option or {}).get("cost")
    if not cost or not cost["usd_per_gpu_hour"]:
        return None
    run, rate = cost["breakdown"]["compute"], cost["usd_per_gpu_hour"] * option["gpus"]
    few, many = habits()
    run += cost["breakdown"].get("lost_work", 0.0)
    low, high = few.usd(run, rate, 0.0), many.usd(run, rate, 0.0)
    worked = [h.usd(run, rate, 0.0) * (1 - h.idle_share) for h in (few, many)]
    debug = [h.debug_hours * rate for h in (few, many)]
    more = [w - d - run for w, d in zip(worked, debug)]

    def line(name, unit, quantities, ends):
        return {
            "name": name,
            "low": quantities[0],
            "high": quantities[1],
            "unit": unit,
            "low_usd": ends[0],
            "high_usd": ends[1],
            "note": None,
            "source": "our prior",
        }

    ends = [low - worked[0], high - worked[1]]
    lines = [
        line("the run", "run", (1, 1), (run, run)),
        line("further trials and failed runs", "runs", [m / run for m in more], more),
        line("debugging", "hours", [few.debug_hours, many.debug_hours], debug),
        line("idle rental", "share of hours", [few.idle_share, many.idle_share], ends),
    ]
    return {"run_usd": run, "low_usd": low, "high_usd": high, "lines": lines}


def _offers(option):
    if not option or not option.get("run") or not option.get("cost"):
        return []
    usd, wall = option["cost"]["usd"], option["run"]["wall_hours"]
    offer = {
        "strategy": option["strategy"],
        "gpu": option["gpu"],
        "gpus": option["gpus"],
        "provider": option["provider"] or "given",
        "instance_type": "p4d",
        "usd": usd,
        "wall_hours": wall,
        "usd_per_gpu_hour": option["cost"]["usd_per_gpu_hour"],
        "price_date": "2026-11-16",
        "price_age_days": 12,
        "keeps_limits": True,
        "on_front": True,
        "chosen": True,
    }
    twice = {key: value * 2 for key, value in usd.items()}
    half = {key: value / 2 for key, value in wall.items()}
    return [offer, offer | {"usd": twice, "wall_hours": half, "gpus": 2, "chosen": False}]


def _stages(option):
    if option is None:
        return []
    usd = option["cost"]["usd"]["p50"] if option["cost"] else None
    return [
        {
            "name": "prompt",
            "strategy": "prompting",
            "usd": None,
            "spent_by_then_usd": 0.0,
            "where": None,
            "go_on": "Go on while prompts help; stop when they do not",
            "why_not": "the length of an answer is not known",
        },
        {
            "name": "tune adapters",
            "strategy": option["strategy"],
            "usd": usd,
            "spent_by_then_usd": usd,
            "where": option["gpu"],
            "go_on": "Go on while the score rises; stop when it stands",
            "why_not": None,
        },
    ]


def _sensitivity(usd, run):
    if not usd or not run:
        return []
    hours = run["wall_hours"]["p50"]
    return [
        {
            "what": what,
            "field": field,
            "low": "half",
            "high": "twice",
            "usd_low": usd["p50"] * low,
            "usd_high": usd["p50"] * high,
            "hours_low": hours * low,
            "hours_high": hours * high,
            "why": "half and twice",
        }
        for what, field, low, high in (("Epochs", "epochs", 0.6, 1.8), ("Price", "price", 0.5, 2.0))
    ]


def _chances(usd):
    return [
        {"usd": usd["p10"], "chance": 0.9},
        {"usd": usd["p50"], "chance": 0.5},
        {"usd": usd["p90"], "chance": 0.1},
    ]


def _poison(answer, text):
    """A hostile text in every place that a user, a file or a price list names."""
    budget = answer["budget"]
    budget["title"] = budget["question"] = text
    budget["headline"] |= {"model": text, "data": text, "gpu": text, "provider": text}
    for part in ("recommended", "runner_up"):
        if budget[part]:
            budget[part]["why"] = text
    for line in [*budget["decisive"], *answer.get("first_lines", [])]:
        line["text"] = text
    for line in [*budget["lines"], *(budget["project"] or {"lines": []})["lines"]]:
        line |= {"name": text, "note": text, "source": text}
    for part in (*budget["offers"], *budget["prices"]):
        part |= {"gpu": text, "provider": text}
    for stage in budget["stages"]:
        stage |= {"name": text, "where": text, "go_on": text}
    for change in budget["sensitivity"]:
        change |= {"what": text, "low": text, "high": text, "why": text}
    for term in budget["glossary"]:
        term |= {"term": text, "meaning": text}
    for option in answer["options"]:
        option |= {"provider": text, "variant": text, "assumptions": [text], "warnings": [text]}
        if option["gpu"]:
            option["gpu"] = text
    budget["reproduce"] |= {"command": text, "python": text}
    budget["left_out"] = answer["assumptions"] = answer["warnings"] = [text]
    for source in answer["sources"]:
        source |= {"what": text, "source": text}
    if answer["model"]:
        answer["model"]["name"] = text
    answer["question"] |= {"model": text, "data": text}
