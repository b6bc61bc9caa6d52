"""Which devices: the one asked for, the local one, or all that can be rented; and what each is
offered at."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from planner.cost.machines import stated_size
from planner.cost.owned import owned
from planner.cost.prices.cores import cores_per_device
from planner.cost.prices.offers import Offer, given, no_offer, offers
from planner.devices.lookup import local_device, resolve_device
from planner.devices.specification import DeviceSpec, all_devices, on_datasheet
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.parallel.plan import ParallelPlan
from planner.question import Question
from planner.trace.source import Progress
from planner.training.host_memory import OPTIMIZER, together


@dataclass(frozen=True)
class RentedDevice:
    """Devices, and the offer they are rented at (None: no price is known). ``prices``: USD of a
    device-hour, from the offer to the middle of the providers' (None: the offer's alone)."""

    spec: DeviceSpec
    parallel: ParallelPlan
    offer: Offer | None
    prices: Estimate | None = None


@dataclass
class Hardware:
    """``specs``: the one device that is asked for or stands here, or every one that can be rented
    (``searched``)."""

    specs: list[DeviceSpec]
    searched: bool
    assumptions: list[str] = field(default_factory=list)


def find_hardware(
    question: Question, progress: Progress | None = None, *, to_rent: bool = False
) -> Hardware:
    """As ``_found``, with the cores of each device's host where they have work to do."""
    found = _found(question, progress, to_rent=to_rent)
    return replace(found, specs=[_with_host(question, spec) for spec in found.specs])


def _with_host(question: Question, spec: DeviceSpec) -> DeviceSpec:
    """This machine's cores for each device, else the median of what is rented with such a
    device."""
    if OPTIMIZER not in together(question.offload or ()):
        return spec
    here = question.gpu == "local" or not _is_in_table(spec)
    cores = max(1, (os.cpu_count() or 1) // question.gpus) if here else None
    return replace(spec, host_cores=cores or max(1, round(cores_per_device(spec.key))))


def _found(
    question: Question, progress: Progress | None = None, *, to_rent: bool = False
) -> Hardware:
    """``to_rent``: a device of this machine is not taken unasked, and one that nobody offers is
    refused.

    Raises UnknownNameError and QuestionError for a device or price that is not known, and those of
    timing operations here for ``exact``."""
    if question.exact:
        return _timed_here(question, progress)
    if question.gpu is not None:
        found = resolve_device(question.gpu)
        _check_offered(question, found.spec, must=to_rent)
        return Hardware([found.spec], False, [found.assumption] if found.assumption else [])
    local = None if to_rent or _is_to_rent(question) else local_device()
    if local is not None:
        note = f"no {FieldName('gpu')} given: the local {local[0].name} is taken"
        return Hardware([local[0]], False, [note])
    if question.price is not None or question.owned_usd is not None:
        raise QuestionError(
            "a price without a GPU",
            where=FieldName("price", "owned_usd"),
            mend=f"Name the GPU with {FieldName('gpu')}",
        )
    note = (
        f"no {FieldName('gpu')} given and none found here: for each strategy the cheapest "
        "offer that fits is taken"
    )
    return Hardware(rentable(question), True, [note])


def _is_to_rent(question: Question) -> bool:
    terms = (question.provider, question.spot, question.region, question.commitment)
    return any(terms)


def _check_offered(question: Question, spec: DeviceSpec, *, must: bool) -> None:
    """Raises QuestionError where nobody offers the device under the question's terms, and ``must``
    or the terms ask that somebody does."""
    if offered(question, spec) or not (must or _is_to_rent(question)):
        return
    if not _is_in_table(spec):
        raise QuestionError(
            "nobody's table has a price of it",
            where=spec.name,
            mend=f"Give {FieldName('price')}",
        )
    if question.nodes is not None and offered(question.model_copy(update={"nodes": None}), spec):
        raise QuestionError(
            f"nobody's table has machines of {question.gpus / question.nodes:g} {spec.name}",
            where=FieldName("nodes"),
            mend=f"Ask for other {FieldName('nodes')}, or give {FieldName('price')}",
        )
    raise no_offer(spec.key, provider=question.provider, region=question.region, spot=question.spot)


def with_basis(spec: DeviceSpec, basis: str, progress: Progress | None = None) -> DeviceSpec:
    """The device, its times on one basis: ``datasheet``, ``calibrated`` (raises QuestionError where
    it was not measured) or ``exact`` (the local device only; raises the errors of
    ``planner.calibrate.exact.exactly``)."""
    if basis == "datasheet":
        return on_datasheet(spec)
    if basis == "exact":
        from planner.calibrate.exact import exactly  # torch from here on

        return exactly(spec, progress=progress)
    if spec.calibration is None:
        raise QuestionError(
            "it is not calibrated", where=spec.name, mend="Run planner calibrate on such a device"
        )
    return replace(spec, pricing="calibrated", timer=None)


def _timed_here(question: Question, progress: Progress | None) -> Hardware:
    """The local device, its operations timed."""
    if question.compile:
        raise QuestionError(
            "the fused kernels of torch.compile cannot be timed one by one",
            where=FieldName("exact"),
            mend=f"Leave out {FieldName('exact')} or {FieldName('compile')}",
        )
    wanted = question.gpu or "local"
    if wanted == "local" and local_device() is None:
        wanted = "cpu"
    found = resolve_device(wanted)
    notes = (
        [found.assumption]
        if found.assumption
        else ["no GPU here: the processor trains"]
        if wanted == "cpu" and question.gpu != "cpu"
        else []
    )
    from planner.calibrate.exact import exactly

    return Hardware([exactly(found.spec, progress=progress)], False, notes)


def offered(question: Question, spec: DeviceSpec) -> list[Offer]:
    """What the device can be had for: the question's price or its own machine, else every offer
    under the question's terms; empty where nobody's table has a price. Raises as ``own_offer``."""
    if question.price is not None:
        return [replace(given(question.price, spec.key), spot=question.spot)]
    own = own_offer(question, spec)
    if own is not None:
        return [own]
    if not _is_in_table(spec):
        # this machine's processor, or a device that only its profile knows
        return []
    found = offers(
        spec.key,
        provider=question.provider,
        region=question.region,
        spot=question.spot,
        commitment=question.commitment,
    )
    return _of_such_machines(question, found)


def _of_such_machines(question: Question, found: list[Offer]) -> list[Offer]:
    """Offers whose machines hold as many devices as the question's do."""
    if question.nodes is None or question.gpus % question.nodes:
        return found
    each = question.gpus // question.nodes
    return [offer for offer in found if stated_size(offer) in (None, each)]


def own_offer(question: Question, spec: DeviceSpec) -> Offer | None:
    """The user's own machine as an offer; None where the question names none. Raises QuestionError
    where only a part of it is known, and the errors of ``owned``."""
    usd, years = question.owned_usd, question.owned_years
    utilisation, usd_per_kwh = question.owned_utilisation, question.usd_per_kwh
    if usd is None:
        return None
    if years is None or utilisation is None or usd_per_kwh is None:
        raise QuestionError(
            "own hardware is known whole or not at all",
            where=FieldName("owned_usd"),
            mend=f"Give {FieldName('owned_years')}, {FieldName('owned_utilisation')} and "
            f"{FieldName('usd_per_kwh')} too",
        )
    return owned(spec, usd=usd, years=years, utilisation=utilisation, usd_per_kwh=usd_per_kwh)


def rentable(question: Question) -> list[DeviceSpec]:
    """Every device that can be rented for this question and priced. Raises QuestionError when there
    is none."""
    precision = question.precision or "bf16"  # one precision on all of them, so that they compare
    # The time model has not been held against AMD runs, so those are planned when named, not
    # chosen.
    found = [
        spec
        for spec in all_devices()
        if spec.vendor == "nvidia"
        and spec.bandwidth_bytes_per_s() is not None
        and spec.supports(precision)
        and spec.peak(precision) is not None
        and (question.float8 is None or spec.peak("fp8") is not None)
        and offered(question, spec)
    ]
    if not found:
        raise QuestionError(
            "no GPU is offered under these terms",
            where=FieldName("provider", "region", "spot"),
            mend=f"Loosen one of them, or give {FieldName('gpu')} and {FieldName('price')}",
        )
    return [_with_host(question, spec) for spec in found]


def _is_in_table(spec: DeviceSpec) -> bool:
    return spec.key in {known.key for known in all_devices()}
