"""The checked claims as Markdown: a table of verdicts, a section a claim, the questions behind."""

from __future__ import annotations

from collections import Counter

from benchmarks.bills.prices import price_date
from benchmarks.claim_figures import BILL, Answers
from benchmarks.claim_rows import Checked, Claim
from benchmarks.claim_verdicts import CONDITIONS, HOLDS, UNCHECKED, VERDICTS, WRONG, Case, off_by
from benchmarks.claim_words import figure, span
from planner import tables
from planner.units import format_bytes

#: How the sentence on the condition begins, by verdict.
LEADS = {
    HOLDS: "Condition",
    CONDITIONS: "Condition",
    WRONG: "What would make it right",
    UNCHECKED: "Note",
}
#: Figures whose distance from the claim is no factor.
NO_FACTOR = ("fits", "hours_cut", "data_cut")

_HEAD = """# Published claims about the cost of training, checked

Written by `python benchmarks/claims.py --write docs/claims.md`; every figure is computed by it,
the sentences are rows of `profiles/claims/claims.csv`. A claim **holds** when our middle lies in
its range in every case asked, **holds under conditions** when it does in some (or our p10 to p90
reaches it), and is **wrong** otherwise. Dollars are compute alone, for one run that works at the
first attempt: GPU hours at the list prices of {date}, the middle one of the providers that rent
as many GPUs as are used (from a tenth of the providers with p10 of the hours to nine tenths with
p90). Published runs are billed as in [published_bills.md](published_bills.md). Nothing here says
how good the model becomes.
"""


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
        f"{figure(min(middles), one.claim.unit)} to "
        f"{figure(max(middles), one.claim.unit)} over {len(middles)} cases"
    )


def _shown(case: Case, claim: Claim) -> str:
    if claim.figure == "fits":
        return f"{'fits' if case.figure.p50 else 'does not fit'}, {case.note}"
    return span(case.figure, claim.unit) + (f" ({case.note})" if case.note else "")


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
            f"{span(hours, '')} | {figure(answers.usd(row['id']).p50, 'usd')} | "
            f"{format_bytes(option['memory']['device_used_bytes']['p50'])} of "
            f"{format_bytes(option['memory']['device_total_bytes'])} | "
            f"{'yes' if option['fits'] else 'no'} |"
        )
    return lines
