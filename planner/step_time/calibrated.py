"""Device time of operations on the ``calibrated`` basis: the curves of a profile, at the sizes of a
trace.

A family that was not measured takes the most similar one of its kind (another type of number,
another layout), its rate scaled by the datasheet's peaks where both are known; a kind that was not
measured takes the datasheet's price. Either is less sure, and says so in its spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from planner.devices.beside import Beside
from planner.devices.curves import Curve
from planner.devices.priors import prior
from planner.devices.profile import RECORDED_STEPS, DeviceProfile
from planner.devices.specification import DeviceSpec
from planner.errors import QuestionError
from planner.operations.call import Call, Lengths
from planner.operations.kind import Term
from planner.operations.registry import Work, family_kind, kind_named, terms
from planner.step_time.roofline import Efficiency
from planner.trace.table import ITEMSIZE, StepTrace

#: What curves are believed of sizes and families that were not measured: priors of this kind.
CURVE = "curve"
KEPT = 16  # of a trace, sets of points
_TOPIC = "asked sizes"
_PEAKS = {
    "float32": "fp32",
    "tf32": "tf32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
#: By which a type's kernels are like another's: 8-bit floats are multiplied as 16-bit ones are.
_WIDTHS = {**ITEMSIZE, "float8_e4m3fn": 2, "float8_e5m2": 2}


class CalibratedPrices:
    """Prices signatures on one measured device."""

    def __init__(
        self,
        spec: DeviceSpec,
        profile: DeviceProfile,
        precision: str = "fp32",
        compiled: bool = False,
    ):
        self.spec, self.profile, self.precision, self.compiled = spec, profile, precision, compiled
        self._is_narrow = RECORDED_STEPS in profile.facts

    def seconds(
        self, trace: StepTrace, dims: np.ndarray, work: Work
    ) -> tuple[np.ndarray, np.ndarray]:
        """(device seconds, standard deviation of their logarithm) of one call of each signature:
        two float64 [n_signatures, n_points]; ``dims`` [n_forms, n_points]. Raises QuestionError
        where neither a measurement nor a datasheet says anything."""
        out, sigma = np.zeros_like(work.flops), np.zeros_like(work.flops)
        missing: list[int] = []
        left = np.zeros(out.shape, dtype=bool)
        for curve, extra, sizes in self._grouped(trace, dims, work, missing):
            self._add(curve, extra, sizes, out, sigma)
            if self._is_narrow:
                far = curve.beyond(sizes.features) > prior(self.spec, CURVE, "farthest_of_one_step")
                np.logical_or.at(left, sizes.indices, far.reshape(-1, out.shape[1]))
        left[missing] = True
        self._draw(trace, dims, work, out, sigma)
        if left.any():
            self._from_datasheet(trace, dims, work, left, out, sigma)
        if self.compiled:
            share = self.profile.facts.get("compile_pointwise_bytes_share")
            if share:
                out[[kind_named(kind).fusable for kind in work.kinds]] *= share
        return out, np.sqrt(sigma) / np.maximum(out, np.finfo(float).tiny)

    def _grouped(
        self, trace: StepTrace, dims: np.ndarray, work: Work, missing: list[int]
    ) -> Iterator[tuple[Curve, tuple[float, float], _Sizes]]:
        """(curve, (factor on its seconds, added spread), the asked sizes), for each curve that is
        asked."""
        for family, sizes in sizes_asked(trace, dims, work, self.precision).items():
            found = self._curve(family)
            if found is None:
                missing += sizes.indices
            else:
                yield found[0], found[1:], sizes

    def _curve(self, family: str) -> tuple[Curve, float, float] | None:
        """(curve, what its seconds are multiplied with, spread to add)."""
        own = self.profile.curves.get(family)
        if own is not None:
            return own, 1.0, 0.0
        name = _most_similar(family, tuple(self.profile.curves))
        if name is None or self._is_narrow and name.split(".")[-1] != family.split(".")[-1]:
            return None
        return (
            self.profile.curves[name],
            self._scale(family, name),
            prior(self.spec, CURVE, "similar_spread"),
        )

    def _scale(self, family: str, other: str) -> float:
        """Between types of number: the datasheet's peaks for products; what only moves bytes
        already counts them."""
        wanted, had = (_PEAKS.get(name.rpartition(".")[2], "") for name in (family, other))
        peaks = self.spec.peak_flops
        if wanted == had or wanted not in peaks or had not in peaks:
            return 1.0
        if not family_kind(family).model_work:
            return 1.0
        reached = prior(self.spec, "product_tensor", "float8_share") if wanted == "fp8" else 1.0
        return peaks[had] / (peaks[wanted] * reached)

    @staticmethod
    def _add(
        curve: Curve, extra: tuple[float, float], sizes: _Sizes, out: np.ndarray, sigma: np.ndarray
    ) -> None:
        seconds, spread = curve.seconds(sizes.features, sizes.flops, sizes.bytes)
        shape = (len(sizes.indices), out.shape[1])
        seconds, spread = seconds.reshape(shape) * extra[0], spread.reshape(shape) + extra[1]
        np.add.at(out, sizes.indices, seconds)
        np.add.at(sigma, sizes.indices, (seconds * spread) ** 2)

    def _draw(
        self, trace: StepTrace, dims: np.ndarray, work: Work, out: np.ndarray, sigma: np.ndarray
    ) -> None:
        """Between a curve, stretched where few sizes were measured, and the datasheet's price times
        what the same measurements show it to be off: each by the inverse of its variance, in
        logarithms."""
        beside = self._beside(trace, dims, work)
        if not beside:
            return
        surest = prior(self.spec, CURVE, "least_spread")
        try:
            prices = Efficiency(self.spec, self.precision, self.compiled).seconds(trace, dims, work)
        except QuestionError:
            return
        for index, found in beside.items():
            curve, price = out[index], prices[index]
            if not (np.all(curve > 0) and np.all(price > 0)):
                continue
            own = np.maximum(sigma[index] / curve**2, surest**2)
            other = sum(one.sigma_log**2 for one in found) / len(found)
            ratio = sum(one.log_ratio for one in found) / len(found)
            share = other / (own + other)  # of the curve
            out[index] = np.exp(share * np.log(curve) + (1 - share) * (np.log(price) + ratio))
            sigma[index] = own * share * out[index] ** 2

    def _beside(self, trace: StepTrace, dims: np.ndarray, work: Work) -> dict[int, list[Beside]]:
        """Of the signatures whose every term has a curve of its own that was held against the
        datasheet."""
        found: dict[int, list[Beside]] = {}
        unknown: set[int] = set()
        for family, sizes in sizes_asked(trace, dims, work, self.precision).items():
            one = self.profile.datasheet.get(family)
            if one is None or family not in self.profile.curves:
                unknown.update(sizes.indices)
                continue
            for index in sizes.indices:
                found.setdefault(index, []).append(one)
        return {index: known for index, known in found.items() if index not in unknown}

    def _from_datasheet(
        self,
        trace: StepTrace,
        dims: np.ndarray,
        work: Work,
        left: np.ndarray,
        out: np.ndarray,
        sigma: np.ndarray,
    ) -> None:
        """``left`` [n_signatures, n_points]: what no curve prices."""
        try:
            prices = Efficiency(self.spec, self.precision, self.compiled).seconds(trace, dims, work)
        except QuestionError:
            first = trace.signatures[int(np.argmax(left.any(axis=1)))].op
            raise QuestionError(
                f"{first} was not measured and has no datasheet's rate",
                where=self.spec.name,
                mend="Calibrate for longer: planner calibrate --seconds 300",
            ) from None
        out[left] = prices[left]
        sigma[left] = (prices[left] * prior(self.spec, CURVE, "datasheet_spread")) ** 2


@dataclass(frozen=True)
class _Sizes:
    """The sizes that a trace asks of one family, one after another: of each term every point."""

    indices: list[int]  # signature of each term
    features: tuple[np.ndarray, ...]  # each [n_terms × n_points]
    flops: np.ndarray
    bytes: np.ndarray


def sizes_asked(
    trace: StepTrace, dims: np.ndarray, work: Work, precision: str
) -> dict[str, _Sizes]:
    """By family; the same on every device, so kept with the trace for the next ones."""
    return trace.memo.of(
        _TOPIC,
        (dims.tobytes(), precision == "tf32"),
        lambda: _by_family(trace, dims, work, precision),
        most=KEPT,
    )


def _by_family(trace: StepTrace, dims: np.ndarray, work: Work, precision: str) -> dict[str, _Sizes]:
    lengths, moved = Lengths(dims), work.bytes
    groups: dict[str, list[tuple[int, Term]]] = {}
    for index, signature in enumerate(trace.signatures):
        for term in terms(Call(signature, lengths), work.flops[index], moved[index], precision):
            groups.setdefault(term.family, []).append((index, term))
    return {family: _flat(members, dims.shape[1]) for family, members in groups.items()}


def _flat(members: list[tuple[int, Term]], n_points: int) -> _Sizes:
    table = np.empty((len(members[0][1].features) + 2, len(members), n_points))
    for row, (_, term) in enumerate(members):
        for column, value in enumerate((*term.features, term.flops, term.bytes)):
            table[column, row] = value
    table = table.reshape(len(table), -1)
    return _Sizes([index for index, _ in members], tuple(table[:-2]), table[-2], table[-1])


@lru_cache(maxsize=4096)
def _most_similar(family: str, known: tuple[str, ...]) -> str | None:
    """Of the same kind and the same direction: the one with most parts in common, a type of number
    of the same width first."""
    parts = family.split(".")
    candidates = [
        name
        for name in known
        if name.split(".")[0] == parts[0]
        and ("backward" in name) == ("backward" in family)
        and ("grad_" in name) == ("grad_" in family)
    ]
    if not candidates:
        return None

    def alike(name: str) -> tuple[int, bool, bool, bool, str]:
        others = name.split(".")
        width = _WIDTHS.get(others[-1], 4) == _WIDTHS.get(parts[-1], 4)
        # of a product: its left operand lies alike
        first = parts[1:2] and others[1:2] and parts[1][:1] == others[1][:1]
        return (
            sum(a == b for a, b in zip(parts[1:-1], others[1:-1])),
            others[-1] == parts[-1],
            width,
            bool(first),
            name,
        )

    return max(candidates, key=alike)
