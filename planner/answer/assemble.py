"""Priced options become the JSON document of the contract (``planner/answer/schema.py`` holds its
schema)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.answer.fixes.advice import Fix
from planner.answer.option_values import option_values, trace_of
from planner.answer.project_cost import (
    break_even_document,
    paid_document,
    paid_sources,
)
from planner.answer.understood import counted_parameters, first_lines, other_lengths
from planner.first_lines import ordered
from planner.models.facts import ModelFacts
from planner.plan.inputs.hardware import Hardware
from planner.plan.inputs.problem import Problem
from planner.plan.options import Option
from planner.uncertainty.spread import spread

if TYPE_CHECKING:
    from planner.plan.by_token.paid_option import PaidOption

SCHEMA = 1
#: Stands for the names of options before a line that all of them have.
EVERY = "all options"


def document(
    problem: Problem,
    hardware: Hardware,
    options: list[Option],
    advice: dict[int, list[Fix]],
    chosen: tuple[Option | PaidOption, str] | None,
    paid: Sequence[PaidOption] = (),
    reason: str | None = None,
) -> dict[str, Any]:
    """The answer as plain JSON values; the options that are paid by the token stand after those
    that train. ``reason``: why what is ``chosen`` is, without the sources."""
    planned = [option.strategy for option in (*options, *paid)]
    shown = _shown(options, chosen)
    told = ordered([*first_lines(problem, shown, planned), *other_lengths(shown, options)])
    listed = [
        *(option_values(problem, option, advice.get(id(option), []), told) for option in options),
        *(paid_document(problem.question, option) for option in paid),
    ]
    common = [*hardware.assumptions, *problem.assumptions, *_common_assumptions(options)]
    assumptions = [*dict.fromkeys(common), *said_together(listed, "assumptions")]
    warnings = [*dict.fromkeys(problem.warnings), *said_together(listed, "warnings")]
    return {
        "schema": SCHEMA,
        "first_lines": [line.as_dict() for line in told],
        "question": _understood(problem),
        "dataset": problem.data.as_dict(),
        "model": _model_facts(problem.facts, options),
        "options": listed,
        "recommended": _recommended(chosen, reason),
        "assumptions": assumptions,
        "warnings": warnings,
        "sources": _sources(problem, options) + paid_sources(paid),
        "break_even": break_even_document(problem.question, [*options, *paid]),
    }


def _shown(options: list[Option], chosen: tuple[Option | PaidOption, str] | None) -> Option | None:
    """The option whose run stands in the first lines: the recommended one, else the first."""
    if chosen is not None and isinstance(chosen[0], Option):
        return chosen[0]
    return options[0] if options and chosen is None else None


def _understood(problem: Problem) -> dict[str, Any]:
    """The question as asked; where it left something open the option's ``training`` says what was
    chosen."""
    return problem.question.model_dump(mode="json") | {
        "strategy": list(problem.strategies),
        "task": problem.question.task or problem.facts.task,
    }


def _model_facts(facts: ModelFacts, options: Sequence[Option]) -> dict[str, Any]:
    """Parameters are counted by a trace where the facts do not say, as of another task's head."""
    counted = (counted_parameters(option.placement) for option in options)
    parameters = facts.parameters or next((count for count in counted if count), None)
    return {
        "name": facts.name,
        "origin": facts.origin,
        "library": facts.library,
        "task": facts.task,
        "modality": facts.modality,
        "parameters": parameters,
        "weights_dtype": facts.weights_dtype,
        "max_length": facts.max_length,
        "image_size": facts.image_size,
        "blocks": facts.blocks,
        "vocabulary": facts.vocabulary,
        "license": facts.license,
        "fingerprint": facts.fingerprint,
    }


def _recommended(
    chosen: tuple[Option | PaidOption, str] | None, reason: str | None
) -> dict[str, Any] | None:
    if chosen is None:
        return None
    option, why = chosen
    if not isinstance(option, Option):  # one that is paid by the token
        return {
            "strategy": option.strategy,
            "variant": option.variant,
            "gpu": None,
            "gpus": 0,
            "why": why,
            "reason": why,
        }
    return {
        "strategy": option.strategy,
        "variant": option.variant,
        "gpu": option.rented.spec.name,
        "gpus": option.rented.parallel.devices,
        "why": why,
        "reason": reason or why,
    }


def _common_assumptions(options: list[Option]) -> list[str]:
    return [
        "no evaluation of quality: the planner prices work, it does not predict accuracy",
        "memory is at the longest batch of the data, time at the mean padded batch",
        *(["gradients are not clipped; activations are those of training mode"] if options else []),
    ]


def _sources(problem: Problem, options: list[Option]) -> list[dict[str, Any]]:
    found = [
        {"what": "model", "source": f"{problem.facts.origin}: {problem.facts.name}", "date": None}
    ]
    for option in options:
        trace = trace_of(option)
        versions = ", ".join(
            f"{name} {version}" for name, version in sorted(trace.meta.get("versions", {}).items())
        )
        found.append({"what": "step trace", "source": f"recorded with {versions}", "date": None})
        if option.rented.offer:
            found.append(
                {
                    "what": f"price of {option.rented.spec.name}",
                    "source": option.rented.offer.source,
                    "date": option.rented.offer.captured_date.isoformat(),
                }
            )
        found += [
            {"what": "billing, storage and egress", "source": source, "date": None}
            for source in (option.bill.sources if option.bill else ())
        ]
        found.append(
            {
                "what": f"datasheet of {option.rented.spec.name}",
                "source": option.rented.spec.sources,
                "date": option.rented.spec.launch_date,
            }
        )
        found += [
            {"what": "energy and carbon", "source": source, "date": None}
            for source in option.energy.sources
        ]
        if option.enough:
            found.append(
                {
                    "what": "data that is enough for scratch",
                    "source": option.enough.source,
                    "date": None,
                }
            )
        found += [
            {"what": f"default {what} of {option.strategy}", "source": source, "date": date}
            for what, source, date in option.choices.practice.sources
        ]
    for basis, device in sorted(
        {(option.rented.spec.pricing, option.rented.spec.key) for option in options}
    ):
        for quantity in ("time", "allocated", "reserved"):
            source = spread(quantity, basis, problem.facts.modality, device).source
            found.append({"what": f"spread of {quantity}", "source": source, "date": None})
    found += _calibrations(options)
    unique = {(f["what"], f["source"]): f for f in found}
    return list(unique.values())


def _calibrations(options: list[Option]) -> list[dict[str, Any]]:
    """The measurements that times stand on, with their date."""
    found = []
    for spec in {option.rented.spec.key: option.rented.spec for option in options}.values():
        if spec.pricing != "datasheet" and spec.calibration is not None:
            provenance = spec.calibration.provenance
            found.append(
                {
                    "what": f"calibration of {spec.name}",
                    "date": str(provenance.get("date"))[:10] if provenance.get("date") else None,
                    "source": f"{spec.calibration.cases} operations timed with torch "
                    f"{provenance.get('torch', 'of unknown version')}",
                }
            )
    return found


def said_together(options: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The lines under ``key`` (warnings, assumptions) that more than one of the options' documents
    has, each with the options it holds for before it; they are taken out of the options. Nothing is
    lost: a line that one option has stays there."""
    holders: dict[str, list[int]] = {}
    for number, option in enumerate(options):
        for line in option[key]:
            holders.setdefault(line, []).append(number)
    shared = {line: numbers for line, numbers in holders.items() if len(set(numbers)) > 1}
    for option in options:
        option[key][:] = [line for line in option[key] if line not in shared]
    names = option_names(options)
    return [
        f"{', '.join(dict.fromkeys(names[number] for number in numbers))}: {line}"
        if len(set(numbers)) < len(options)
        else f"{EVERY}: {line}"
        for line, numbers in shared.items()
    ]


def option_names(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """``lora``; ``feature_extraction (cached features)`` where the strategy has other variants that
    are not meant."""
    return [
        f"{option['strategy']} ({option['variant']})"
        if option.get("variant")
        else option["strategy"]
        for option in options
    ]
