"""A device that was measured: curves, host costs, memory facts and where they come from, as one
readable JSON file.

The file can be committed, sent to a colleague, and planned with on a machine without the device
(``--gpu ./h200.json``). Shipped profiles lie in ``profiles/devices/``, the user's own in
``user_folder()``.
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from planner import tables
from planner.devices import beside, collectives
from planner.devices.beside import Beside
from planner.devices.collectives import CollectiveCurve
from planner.devices.curves import Curve, Error, Point
from planner.devices.layout import FORMAT, MARK, WrittenCurve, WrittenProfile
from planner.devices.load import UnderLoad
from planner.devices.load import read as read_load
from planner.devices.seal import DIGEST, check_digest, digest_of
from planner.errors import FieldName, MachineError, ProfileError
from planner.files import loads, read_text
from planner.moment import once
from planner.operations.registry import family_kind, features_of

MOST_EXACT = 6000  # the newest are kept, so that a file stays under a megabyte
MOST_BYTES = 64 * 2**20
AGAIN = "Run planner calibrate again"
#: Fact of a profile that was made of somebody's recorded steps: their number. It holds the sizes of
#: one model, where a calibration spans those of all.
RECORDED_STEPS = "recorded_steps"


@dataclass(frozen=True)
class DeviceProfile:
    """``device``: what it is (``name``, ``kind`` cuda | mps | cpu, ``total_memory_bytes`` …).
    ``provenance``: versions, date, seconds spent. ``curves`` by family. ``host``: seconds the host
    needs, by the names of the rows of kind ``host`` in ``profiles/priors/device.csv`` and
    ``<name>.<kind>``. ``facts``: other measured numbers by name, the unit in it. ``watts``: mean
    power by kind of operation. ``doubts``: (what, how to mend it). ``exact``: seconds by a case's
    key. ``loader``: what the host can feed, by modality. ``datasheet``: how far measured sizes
    lie from the datasheet's price, by family. ``load``: how much of it was measured under load,
    None where nobody looked. ``collectives``: what devices of this kind send each other."""

    device: Mapping[str, Any]
    provenance: Mapping[str, Any]
    curves: Mapping[str, Curve]
    host: Mapping[str, float] = field(default_factory=dict[str, float])
    facts: Mapping[str, float] = field(default_factory=dict[str, float])
    watts: Mapping[str, float] = field(default_factory=dict[str, float])
    doubts: tuple[tuple[str, str], ...] = ()
    exact: Mapping[str, float] = field(default_factory=dict[str, float])
    loader: Mapping[str, Any] = field(default_factory=dict[str, Any])
    datasheet: Mapping[str, Beside] = field(default_factory=dict[str, Beside])
    load: UnderLoad | None = None
    collectives: tuple[CollectiveCurve, ...] = ()

    @property
    def key(self) -> str:
        return file_name(self.device)

    @property
    def cases(self) -> int:
        """How many sizes were measured."""
        return sum(len(curve.points) for curve in self.curves.values())

    @property
    def memory_bytes_per_s(self) -> float | None:
        """Bytes read and written a second: of a large copy, else the best that an element-wise
        operation or a copy reached on its largest operands. None where neither was measured."""
        copied = self.facts.get("memory_bytes_per_s")
        if copied:
            return copied
        largest = [
            max(curve.points, key=lambda p: p.bytes)
            for family, curve in self.curves.items()
            if family_kind(family).shows == "bandwidth"
        ]
        return max((p.bytes / p.seconds for p in largest), default=0.0) or None

    @property
    def fastest_bytes_per_s(self) -> float:
        """The best of all measurements, caches included: the roof that a roofline is drawn with."""
        return max(p.bytes / p.seconds for c in self.curves.values() for p in c.points)

    def remembering(self, times: Mapping[str, float]) -> DeviceProfile:
        """With more exactly timed operations, the newest ``MOST_EXACT``."""
        merged = {key: value for key, value in self.exact.items() if key not in times} | dict(times)
        return replace(self, exact=dict(list(merged.items())[-MOST_EXACT:]))


def file_name(device: Mapping[str, Any]) -> str:
    """The stem of a device's file: its key of the GPU table where it has one, else its name in
    plain letters."""
    words = [str(device.get("key") or device["name"])]
    if device.get("kind") == "cpu":
        words.append(f"{device.get('cores') or 1}-cores")
    if device.get("mig"):
        words.append(str(device["mig"]))
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def user_folder() -> Path:
    """``PLANNER_DEVICES``, else the user's data folder."""
    return once("folder of devices", _user_folder)


def _user_folder() -> Path:
    base = os.environ.get("PLANNER_DEVICES")
    home = os.environ.get("XDG_DATA_HOME", os.path.expanduser("~/.local/share"))
    return _made(base) if base else _below(home)


@cache
def _made(folder: str) -> Path:
    return Path(folder)


@cache
def _below(home: str) -> Path:
    """Made once: a question asks for it some hundred times."""
    return Path(home) / "planner" / "devices"


def shipped_folder() -> Path:
    return tables.path("devices")


def find(key: str) -> Path | None:
    """The file of a device: the user's own measurement, else a shipped one."""
    for folder in (user_folder(), shipped_folder()):
        file = folder / f"{key}.json"
        if file.is_file():
            return file
    return None


def all_files() -> list[Path]:
    """Every profile there is, the user's own first; a shipped one of the same device is left
    out."""
    found: dict[str, Path] = {}
    for folder in (user_folder(), shipped_folder()):
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            found.setdefault(file.stem, file)
    return list(found.values())


# ---- reading


def load(file: Path | str) -> DeviceProfile:
    """Raises ProfileError, in one line, for what is no profile, damaged, or written by a newer
    planner."""
    path = Path(file)
    try:
        return _load(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise ProfileError(
            f"cannot read the device profile: {error.strerror or error}", where=str(path)
        ) from error


@cache
def _load(path: Path, _changed: int) -> DeviceProfile:
    try:
        written = loads(read_text(path, MOST_BYTES))
    except ValueError as error:
        raise ProfileError(
            f"not a device profile, or damaged: {error}", where=str(path), mend=AGAIN
        ) from error
    return parse(written, str(path))


def parse(written: Any, where: str) -> DeviceProfile:
    """A profile from what ``as_written`` made. Raises ProfileError."""
    layout = cast("dict[str, Any]", written).get(MARK) if isinstance(written, dict) else None
    if not isinstance(layout, int):
        raise ProfileError("not a device profile", where=where, mend="planner calibrate writes one")
    if layout > FORMAT:
        raise ProfileError(
            f"written by a newer planner (layout {layout}, this one reads up to {FORMAT})",
            where=where,
            mend="Update planner, or calibrate again with this one",
        )
    check_digest(cast("dict[str, Any]", written), where, AGAIN)
    try:
        return _parsed(cast(WrittenProfile, written))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ProfileError(
            f"damaged device profile: {detail}"[:200], where=where, mend=AGAIN
        ) from error


def _parsed(written: WrittenProfile) -> DeviceProfile:
    curves = [_curve(one) for one in written["curves"]]
    if not str(written["device"]["name"]):
        raise ValueError("the device has no name")
    return DeviceProfile(
        device=dict(written["device"]),
        provenance=dict(written["provenance"]),
        curves={c.family: c for c in curves},
        host=_positive(written.get("host", {}), "host"),
        facts=_positive(written.get("facts", {}), "facts"),
        watts=_positive(written.get("watts", {}), "watts"),
        doubts=tuple((str(what), str(mend)) for what, mend in written.get("doubts", ())),
        exact=_positive(written.get("exact", {}), "exact"),
        loader=dict(written.get("loader", {})),
        datasheet=beside.read(written.get("datasheet", {})),
        load=read_load(written.get("load")),
        collectives=collectives.read(written.get("collectives", ())),
    )


def _positive(table: Mapping[str, Any], name: str) -> dict[str, float]:
    found = {str(key): float(value) for key, value in table.items()}
    wrong = [key for key, value in found.items() if not (math.isfinite(value) and value >= 0)]
    if wrong:
        raise ValueError(f"{name} {wrong[0]} is {found[wrong[0]]}")
    return found


def _curve(written: WrittenCurve) -> Curve:
    family, wide = str(written["family"]), len(features_of(str(written["family"])))
    points = tuple(
        Point(tuple(map(float, row[:wide])), *map(float, row[wide:])) for row in written["points"]
    )
    curve = Curve(
        family,
        points,
        float(written["flops_per_s"]),
        float(written["bytes_per_s"]),
        float(written["latency_seconds"]),
        int(written["multiprocessors"]),
        float(written["mean_log"]),
        tuple(map(float, written["lengths"])),
        tuple(map(int, written["knots"])),
        tuple(map(float, written["weights"])),
        Error(**written["error"]),
    )
    numbers = [
        curve.flops_per_s,
        curve.bytes_per_s,
        curve.latency_seconds,
        curve.mean_log,
        *curve.lengths,
        *curve.weights,
        *(p.seconds for p in points),
    ]
    if (
        not points
        or len(curve.knots) != len(curve.weights)
        or (curve.knots and not 0 <= min(curve.knots) <= max(curve.knots) < len(points))
    ):
        raise ValueError(f"curve {family} does not fit its points")
    if (
        not all(map(math.isfinite, numbers))
        or min(p.seconds for p in points) <= 0
        or any(length <= 0 for length in curve.lengths)
    ):
        raise ValueError(f"curve {family} holds a number that no measurement gives")
    return curve


# ---- writing


def save(profile: DeviceProfile, file: Path | str) -> Path:
    """Write atomically. Raises MachineError when the disk refuses."""
    return write(
        Path(file),
        dumps(profile),
        "the device profile",
        f"Name another place with {FieldName('out')}, or free some space",
    )


def write(path: Path, text: str, what: str, mend: str | None = None) -> Path:
    """A reader sees the old file or the new one, never half of one. Raises MachineError naming
    ``what`` when the disk refuses."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8"
        ) as handle:
            temporary = handle.name
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)  # temporary files are private; these are there to be shared
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise MachineError(
            f"cannot write {what}: {error.strerror or error}", where=str(path), mend=mend
        ) from error
    return path


def dumps(profile: DeviceProfile) -> str:
    """Readable: one line a curve's point or an entry, and one that tells whether one changed."""
    written = as_written(profile)
    digest = digest_of(written)
    curves = written.pop("curves")
    written = {MARK: written[MARK], DIGEST: digest, **written}
    text = json.dumps(written, indent=1, ensure_ascii=False, default=str)
    lines = ",\n".join(_curve_lines(c) for c in curves)
    return text[:-2] + ',\n "curves": [\n' + lines + "\n ]\n}\n"


def as_written(profile: DeviceProfile) -> dict[str, Any]:
    """JSON-able, numbers rounded to what a measurement can mean."""
    return {
        MARK: FORMAT,
        "device": dict(profile.device),
        "provenance": dict(profile.provenance),
        "doubts": [list(d) for d in profile.doubts],
        "host": _rounded(profile.host),
        "facts": _rounded(profile.facts),
        "watts": _rounded(profile.watts),
        "loader": dict(profile.loader),
        "datasheet": beside.as_written(profile.datasheet),
        **({} if profile.load is None else {"load": profile.load.as_written()}),
        **(
            {"collectives": collectives.as_written(profile.collectives)}
            if profile.collectives
            else {}
        ),
        "exact": _rounded(profile.exact, 4),
        "curves": [_curve_written(profile.curves[name]) for name in sorted(profile.curves)],
    }


def _curve_written(curve: Curve) -> dict[str, Any]:
    return {
        "family": curve.family,
        "flops_per_s": _short(curve.flops_per_s),
        "bytes_per_s": _short(curve.bytes_per_s),
        "latency_seconds": _short(curve.latency_seconds),
        "multiprocessors": curve.multiprocessors,
        "mean_log": _short(curve.mean_log),
        "lengths": list(curve.lengths),
        "error": {
            name: _short(value, 4) if name != "n" else value
            for name, value in asdict(curve.error).items()
        },
        "columns": [
            *features_of(curve.family),
            "flops",
            "bytes",
            "seconds",
            "low_seconds",
            "high_seconds",
        ],
        "points": [
            [
                *map(_short, p.features),
                _short(p.flops),
                _short(p.bytes),
                *(_short(x, 4) for x in (p.seconds, p.low_seconds, p.high_seconds)),
            ]
            for p in curve.points
        ],
        "knots": list(curve.knots),
        "weights": [_short(w) for w in curve.weights],
    }


def _curve_lines(written: dict[str, Any]) -> str:
    points = written.pop("points")
    head = json.dumps(written)
    return (
        "  "
        + head[:-1]
        + ', "points": [\n'
        + ",\n".join("   " + json.dumps(p) for p in points)
        + "]}"
    )


def _rounded(table: Mapping[str, float], digits: int = 6) -> dict[str, float]:
    return {name: _short(value, digits) for name, value in table.items()}


def _short(value: float, digits: int = 7) -> float | int:
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
