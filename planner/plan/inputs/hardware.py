"""Which device: the one asked for, the local one, or for each strategy the cheapest offer that
fits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from planner.cost.owned import owned
from planner.cost.prices.offers import Offer, given, no_offer, offers, price_range
from planner.devices.lookup import local_device, resolve_device
from planner.devices.specification import DeviceSpec, all_devices, on_datasheet
from planner.errors import FieldName, QuestionError
from planner.figures import Estimate
from planner.parallel.plan import ParallelPlan
from planner.question import Question
from planner.trace.source import Progress

#: Of the devices that somebody rents, how many of the most promising are planned in full for each
#: strategy.
PLANNED = 4


@dataclass(frozen=True)
class RentedDevice:
    """A device, and the offer it is rented at (None: no price is known). ``prices``: the spread
    over providers."""

    spec: DeviceSpec
    parallel: ParallelPlan
    offer: Offer | None
    prices: Estimate | None = None

    @property
    def known_offer(self) -> Offer:
        """The offer of a device that ``rentable`` found. Raises ValueError where no price is
        known."""
        if self.offer is None:
            raise ValueError(f"no offer of {self.spec.name} is known")
        return self.offer


@dataclass
class Hardware:
    """``fixed``: the one device of the question; else ``choices`` are searched, cheapest work
    first."""

    fixed: RentedDevice | None
    choices: list[RentedDevice]
    assumptions: list[str] = field(default_factory=list)


def parallel_plan(question: Question) -> ParallelPlan:
    """How the devices of a question share the work: copies of the model (``parallel`` ddp)."""
    return ParallelPlan(dp_replicate=question.gpus)


def find_hardware(question: Question, progress: Progress | None = None) -> Hardware:
    """Raises UnknownNameError and QuestionError for a device or price that is not known, and those
    of timing operations here for ``--exact``."""
    if question.exact:
        return _timed_here(question, progress)
    if question.gpu is not None:
        found = resolve_device(question.gpu)
        return Hardware(
            rent(question, found.spec, must=False),
            [],
            [found.assumption] if found.assumption else [],
        )
    local = (
        None
        if question.provider or question.spot or question.region or question.commitment
        else local_device()
    )
    if local is not None:
        return Hardware(
            rent(question, local[0], must=False),
            [],
            [f"no {FieldName('gpu')} given: the local {local[0].name} is taken"],
        )
    if question.price is not None or question.owned_usd is not None:
        raise QuestionError(
            "a price without a GPU",
            where=FieldName("price", "owned_usd"),
            mend=f"Name the GPU with {FieldName('gpu')}",
        )
    return Hardware(
        None,
        rentable(question),
        [
            f"no {FieldName('gpu')} given and none found here: for each strategy the cheapest "
            "offer that fits is taken"
        ],
    )


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

    return Hardware(rent(question, exactly(found.spec, progress=progress), must=False), [], notes)


def rent(question: Question, spec: DeviceSpec, *, must: bool) -> RentedDevice:
    """The device at the question's price, or at its cheapest offer; without one when nobody offers
    it (and not ``must``)."""
    if question.price is not None:
        return RentedDevice(
            spec,
            parallel_plan(question),
            replace(given(question.price, spec.key), spot=question.spot),
        )
    own = own_offer(question, spec)
    if own is not None:
        return RentedDevice(spec, parallel_plan(question), own)
    found = _offers(question, spec)
    if not found:
        if must or question.provider or question.region or question.spot or question.commitment:
            raise no_offer(
                spec.key, provider=question.provider, region=question.region, spot=question.spot
            )
        return RentedDevice(spec, parallel_plan(question), None)
    return RentedDevice(spec, parallel_plan(question), found[0], _prices(question, found))


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


def rentable(question: Question) -> list[RentedDevice]:
    """Every device that can be rented for this question and priced. Raises QuestionError when there
    is none."""
    precision = question.precision or "bf16"  # one precision on all of them, so that they compare
    found = []
    for spec in all_devices():
        # The time model has not been held against AMD runs, so those are planned when named, not
        # chosen.
        if (
            spec.vendor != "nvidia"
            or spec.bandwidth_bytes_per_s() is None
            or not spec.supports(precision)
            or spec.peak(precision) is None
        ):
            continue
        available = _offers(question, spec)
        if available:
            found.append(
                RentedDevice(
                    spec, parallel_plan(question), available[0], _prices(question, available)
                )
            )
    if not found:
        raise QuestionError(
            "no GPU is offered under these terms",
            where=FieldName("provider", "region", "spot"),
            mend=f"Loosen one of them, or give {FieldName('gpu')} and {FieldName('price')}",
        )
    return found


def by_promise(
    rented: list[RentedDevice], flops: float, read_write_bytes: float, precision: str
) -> Iterator[RentedDevice]:
    """Devices in the order of a roofline's dollars for this much work: a bound that needs no trace
    at each device. One of unknown bandwidth comes last."""

    def dollars(rented_device: RentedDevice) -> float:
        spec, devices = rented_device.spec, rented_device.parallel.devices
        bandwidth = spec.bandwidth_bytes_per_s()
        if bandwidth is None:
            return math.inf
        peak = spec.peak(precision) or spec.peak("fp32") or 1.0
        seconds = max(flops / peak, read_write_bytes / bandwidth)
        return seconds * rented_device.known_offer.usd_per_hour_for(devices)

    return iter(sorted((r for r in rented if r.spec.supports(precision)), key=dollars))


def _prices(question: Question, found: list[Offer]) -> Estimate | None:
    """From the cheapest offer up to the middle of the providers': the cheapest may be sold out.
    None for a named provider."""
    prices = None if question.provider else price_range(found, question.gpus)
    if prices is None:
        return None
    cheapest = found[0].usd_per_hour_for(question.gpus) / question.gpus
    return Estimate(cheapest, cheapest, max(cheapest, prices.p50))


def _offers(question: Question, spec: DeviceSpec) -> list[Offer]:
    if spec.key not in {known.key for known in all_devices()}:
        # this machine's processor, or a device that only its profile knows: nobody's table has a
        # price
        return []
    return offers(
        spec.key,
        gpus=question.gpus,
        provider=question.provider,
        region=question.region,
        spot=question.spot,
        commitment=question.commitment,
    )
