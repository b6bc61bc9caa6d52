"""How a device's profile lies in its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

#: The layout of a file. A reader refuses newer ones.
FORMAT = 1
MARK = "planner_device_profile"


class WrittenError(TypedDict):
    """``curves.Error``."""

    median: float
    p95: float
    sigma_log: float
    n: int


class WrittenCurve(TypedDict):
    """``curves.Curve``; a point's row is its features, then FLOP, bytes and the three seconds."""

    family: str
    flops_per_s: float
    bytes_per_s: float
    latency_seconds: float
    multiprocessors: int
    mean_log: float
    lengths: list[float]
    error: WrittenError
    columns: NotRequired[list[str]]
    points: list[list[float]]
    knots: list[int]
    weights: list[float]


class WrittenProfile(TypedDict):
    """The file's layout, as its reader expects it and checks it number by number."""

    device: Mapping[str, Any]
    provenance: Mapping[str, Any]
    curves: list[WrittenCurve]
    host: NotRequired[Mapping[str, float]]
    facts: NotRequired[Mapping[str, float]]
    watts: NotRequired[Mapping[str, float]]
    doubts: NotRequired[list[tuple[str, str]]]
    exact: NotRequired[Mapping[str, float]]
    loader: NotRequired[Mapping[str, Any]]
    datasheet: NotRequired[Mapping[str, Mapping[str, Any]]]
    load: NotRequired[Mapping[str, Any]]
    collectives: NotRequired[list[Mapping[str, Any]]]
