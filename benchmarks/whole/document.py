"""``docs/whole_runs.md``: totals, the runs, the largest misses, and what cannot be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks.whole import facts
from benchmarks.whole.causes import causes
from benchmarks.whole.figures import Figures, before_and_after
from benchmarks.whole.outcome import Comparison, Outcome
from benchmarks.whole.totals import Total, by, largest, total

MISSES = 10
HEAD = """# Whole runs as people report them, and what the planner says

Written by `python benchmarks/whole_runs.py --write docs/whole_runs.md`; every number comes out of
it, none is edited by hand.

Each run is asked from what its report states before the outcome: model, strategy, data, recipe and
device (`benchmarks/whole/asking.py`); hours, dollars and memory never enter. Lengths that a report
leaves out come from rows with their sources (`profiles/measured/whole_runs/data_sets.csv`) and
spread around their mean as those of published sets do; sizes
of models that the planner does not know by name from `models.csv` beside it. Where a report's clock
begins with the first batch (`train_runtime`), our start-up is left out. Dollars are at the price
that the report states. Memory is what the report names: reserved by the allocator, or shown by the
driver. Error: ours over theirs, less one. Bias: the median ratio, less one. Inside: the report lies
between our p10 and p90; the ranges of hours and of memory under Unsloth, and how much longer long
runs are than clean steps, are fitted on these very runs; the error and the coverage of runs whose
author was left out (of memory, which one author reports: whose family of models was) are what
`python benchmarks/fit_runs.py` prints. A peak is the larger of
training's and an evaluation's. Trust: H, logged with its settings; M, stated with settings; L,
settings partly unknown. Totals count H and M, unless they say otherwise.

"""


def document(outcomes: Sequence[Outcome], described: str, before: Figures | None = None) -> str:
    """The whole file as Markdown; ``before`` are an earlier planner's figures."""
    trusted = [o for o in outcomes if o.report.trusted]
    parts = [
        HEAD + f"Runs: {described}.\n",
        *([_before(outcomes, before)] if before is not None else []),
        _hours_totals(outcomes, trusted),
        _other_totals(trusted),
        _cause_totals(trusted),
        _runs(outcomes),
        _misses(outcomes),
        _refused(outcomes),
        _assumptions(outcomes),
    ]
    return "\n".join(parts)


def _before(outcomes: Sequence[Outcome], before: Figures) -> str:
    rows = before_and_after(outcomes, before)
    totals = [one for _, old, new in rows for one in (old, new) if one is not None]
    return "## Before and now\n\n" + _table(totals)


def _hours_totals(outcomes: Sequence[Outcome], trusted: Sequence[Outcome]) -> str:
    whole = total("all trusted", [c for o in trusted if (c := o.hours)])
    rows = [whole] if whole else []
    for title, key in _KEYS:
        rows += [_named(title, one) for one in by(trusted, _hours, key)]
    rows += [_named("trust", one) for one in by(outcomes, _hours, lambda o: o.report["trust"])]
    return "## Hours\n\n" + _table(rows)


def _other_totals(trusted: Sequence[Outcome]) -> str:
    lines = []
    for title, quantity in (("Dollars", _usd), ("Memory", _memory)):
        whole = total("all trusted", [c for o in trusted if (c := quantity(o))])
        rows = [whole] if whole else []
        for name, key in _KEYS:
            rows += [_named(name, one) for one in by(trusted, quantity, key)]
        lines.append(f"## {title}\n\n{_table(rows)}")
    return "\n".join(lines)


def _cause_totals(trusted: Sequence[Outcome]) -> str:
    """How often each cause is the first, and how often it is named at all."""
    first, named = Counter(), Counter()
    for outcome in trusted:
        found = causes(outcome)
        if found:
            first[found[0].name] += 1
        named.update({cause.name for cause in found})
    lines = [
        "## What the misses are due to\n",
        "By the rules of `benchmarks/whole/causes.py`, over trusted runs farther off than 30 %.\n",
        "| cause | strongest evidence of | named in |",
        "| --- | --: | --: |",
    ]
    lines += [f"| {name} | {first[name]} | {count} |" for name, count in named.most_common()]
    return "\n".join(lines) + "\n"


def _runs(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "## The runs\n",
        "| run | trust | strategy | device | reported h | ours (p10 to p90) | error | inside | "
        "$ reported, ours | GiB reported, ours (p10 to p90) | due to |",
        "| --- | --- | --- | --- | --: | --- | --: | --- | --- | --- | --- |",
    ]
    asked = [o for o in outcomes if o.hours is not None]
    lines += [_run(o) for o in sorted(asked, key=lambda o: (not o.report.trusted, o.report.id))]
    return "\n".join(lines) + "\n"


def _run(outcome: Outcome) -> str:
    report, hours = outcome.report, outcome.hours
    assert hours is not None
    due = "; ".join(cause.name for cause in causes(outcome))
    usd, memory = outcome.usd, outcome.memory
    cells = (
        report.id,
        report["trust"],
        str(outcome.asked.fields["strategy"]),
        f"{report.gpus}× {report['gpu']}",
        _short(hours.theirs),
        _range(hours),
        f"{hours.error:+.0%}",
        "yes" if hours.covered else "no",
        f"{_short(usd.theirs)}, {_short(usd.ours.p50)}" if usd else "",
        f"{_short(memory.theirs)}, {_range(memory)}" if memory else "",
        due,
    )
    return "| " + " | ".join(cells) + " |"


def _misses(outcomes: Sequence[Outcome]) -> str:
    lines = [f"## The {MISSES} largest misses of trusted reports\n"]
    for outcome in largest(outcomes, MISSES):
        lines += _miss(outcome)
    return "\n".join(lines) + "\n"


def _miss(outcome: Outcome) -> list[str]:
    report, hours, answer = outcome.report, outcome.hours, outcome.answer
    assert hours is not None and answer is not None and answer.parts is not None and answer.step
    parts = ", ".join(f"{name.replace('_', '-')} {_short(h)} h" for name, h in answer.parts.items())
    theirs = outcome.reported_step_seconds
    step = answer.step
    return [
        f"### {report.id}: {_short(hours.theirs)} h reported, ours {_short(hours.ours.p50)} h "
        f"({hours.error:+.0%})\n",
        f"{report['model']}, {report['strategy']}, {report.gpus}× {report['gpu']}, "
        f"{report['precision'] or 'precision not stated'}, {report['date'] or 'no date'}"
        + (f"; {report['notes']}.\n" if report["notes"] else ".\n"),
        f"- Ours: {parts}.",
        f"- Our step: {answer.step_seconds:.3g} s ({step['gradient_accumulation']} of "
        f"{step['micro_batch_size']} samples, {step['bound_by']}-bound), {answer.steps:,} steps"
        + (f"; theirs {theirs:.3g} s." if theirs else "; theirs not stated."),
        *(f"- By rule, {cause.name}: {cause.evidence}." for cause in causes(outcome)),
        *(
            f"- By hand, {row['cause']}: {row['evidence']} ({row['source']})."
            for row in facts.by_hand(report.id)
        ),
        "",
    ]


def _refused(outcomes: Sequence[Outcome]) -> str:
    """What keeps runs from being asked, the commonest first, and every such run."""
    missing = [o for o in outcomes if o.refused]
    reasons = Counter(reason for o in missing for reason in o.refused.split("; "))
    lines = [
        f"## Not asked ({len(missing)})\n",
        "What the planner does not understand, or the report does not state:\n",
        *(f"- {count} × {reason}" for reason, count in reasons.most_common()),
        "",
        *(f"- **{o.report.id}** ({o.report['trust']}): {o.refused}" for o in missing),
    ]
    return "\n".join(lines) + "\n"


def _assumptions(outcomes: Sequence[Outcome]) -> str:
    lines = ["## What each question assumes\n"]
    lines += [
        f"- **{o.report.id}**: {'; '.join(o.asked.assumed) or 'nothing'}. Report: "
        f"{o.report['source']}."
        for o in outcomes
        if o.hours is not None
    ]
    return "\n".join(lines) + "\n"


def _named(group: str, made: Total) -> Total:
    return Total(**{**made.__dict__, "name": f"{group}: {made.name}"})


def _table(rows: Sequence[Total]) -> str:
    lines = [
        "| runs | n | median error | within 30 % | bias | inside |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {row.name} | {row.n} | {row.median_error:.0%} | {row.within:.0%} | {row.bias:+.0%} | "
        f"{row.covered:.0%} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _range(comparison: Comparison) -> str:
    ours = comparison.ours
    return f"{_short(ours.p50)} ({_short(ours.p10)} to {_short(ours.p90)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _hours(outcome: Outcome) -> Comparison | None:
    return outcome.hours


def _usd(outcome: Outcome) -> Comparison | None:
    return outcome.usd


def _memory(outcome: Outcome) -> Comparison | None:
    return outcome.memory


_KEYS: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
    ("modality", lambda o: o.asked.modality),
    ("strategy", lambda o: str(o.asked.fields["strategy"])),
    ("devices", lambda o: "one" if o.report.gpus == 1 else "several"),
    ("kernels", lambda o: "Unsloth" if o.report.says("Unsloth") else "others"),
)
