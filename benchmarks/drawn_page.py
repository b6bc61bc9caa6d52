"""The page of drawn architectures: what each is answered, counted and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coverage import GPU


@dataclass(frozen=True)
class Drawn:
    """``name``: a vision model with its library's prefix, or ``type:Class`` of transformers."""

    group: str
    name: str


@dataclass(frozen=True)
class Outcome:
    """What is answered in words, or ``refusal``; ``waited`` seconds for it. ``no_model``: what its
    own library says where it builds no model of the type's default config."""

    said: str = ""
    refusal: str | None = None
    waited: float = 0.0
    no_model: str | None = None


def show(drawn: Drawn, outcome: Outcome) -> str:
    sign = "none" if outcome.no_model else "ok  " if outcome.refusal is None else "no  "
    return f"{sign} {drawn.group:12} {drawn.name:58} {_told(outcome)}"


def _told(outcome: Outcome) -> str:
    if outcome.no_model:
        return f"passed over: transformers builds none of its default config ({outcome.no_model})"
    return outcome.refusal or outcome.said


def counts(outcomes: Sequence[tuple[Drawn, Outcome]]) -> dict[str, tuple[int, int]]:
    """Group → (answered, drawn), without those that were passed over."""
    found: dict[str, tuple[int, int]] = {}
    for drawn, outcome in outcomes:
        if outcome.no_model:
            continue
        answered, asked = found.get(drawn.group, (0, 0))
        found[drawn.group] = (answered + (outcome.refusal is None), asked + 1)
    return found


def summary(outcomes: Sequence[tuple[Drawn, Outcome]]) -> str:
    lines = [
        f"{group}: {answered} of {asked} answered"
        for group, (answered, asked) in counts(outcomes).items()
    ]
    refused = [show(drawn, outcome) for drawn, outcome in outcomes if outcome.refusal]
    return "\n".join(["", *lines, "", "Refused:" if refused else "None refused", *refused])


def others(seeds: Mapping[int, Sequence[tuple[Drawn, Outcome]]]) -> str:
    """Counts of other seeds and what was refused of them; nothing where there are none."""
    if not seeds:
        return ""
    rows = [
        f"| {seed} | {group} | {asked} | {answered} | {asked - answered} |"
        for seed, outcomes in seeds.items()
        for group, (answered, asked) in counts(outcomes).items()
    ]
    left = [
        f"| {seed} | {drawn.name} | {_cell(_told(outcome))} |"
        for seed, outcomes in seeds.items()
        for drawn, outcome in outcomes
        if outcome.refusal or outcome.no_model
    ]
    return f"""
## Other seeds

| seed | group | drawn | answered | refused |
| ---: | --- | ---: | ---: | ---: |
{chr(10).join(rows)}

| seed | refused or passed over | why |
| ---: | --- | --- |
{chr(10).join(left)}
"""


def document(
    outcomes: Sequence[tuple[Drawn, Outcome]],
    asked_as: str,
    also: Mapping[int, Sequence[tuple[Drawn, Outcome]]] | None = None,
) -> str:
    """The page: counts of every group, then each drawn with its answer or why it has none; then
    the counts of other seeds."""
    sums = [
        f"| {group} | {asked} | {answered} | {asked - answered} |"
        for group, (answered, asked) in counts(outcomes).items()
    ]
    lines = [
        f"| {drawn.group} | {drawn.name} |"
        f" {'none' if outcome.no_model else 'no' if outcome.refusal else 'yes'} |"
        f" {_cell(_told(outcome))} | {outcome.waited:.1f} |"
        for drawn, outcome in outcomes
    ]
    return f"""# Architectures drawn by seed

Written by `{asked_as}`; nothing is edited by hand.
Each is asked for full fine-tuning on one {GPU}, as a user would, of a config that names no
checkpoint: its task, the peak of device memory and the seconds of one step at the micro-batch that
was chosen. What is refused says why in one line. A type of whose default config transformers itself
builds no model is passed over, and the next one drawn stands in its place.

{_versions()}

| group | drawn | answered | refused |
| --- | ---: | ---: | ---: |
{chr(10).join(sums)}

| group | drawn | answered | answer, or why not | seconds waited |
| --- | --- | --- | --- | ---: |
{chr(10).join(lines)}
{others(also or {})}"""


def _cell(text: str) -> str:
    return text.replace("|", "/").replace(str(Path.home()), "~")


def _versions() -> str:
    from importlib.metadata import version

    libraries = ("transformers", "timm", "torchvision", "torch")
    return "Drawn from " + ", ".join(f"{name} {version(name)}" for name in libraries) + "."
