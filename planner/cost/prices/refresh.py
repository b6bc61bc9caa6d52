"""Today's prices from dstack's ``gpuhunt`` catalogue, as rows for the user's own tables."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable
from typing import Any

from planner.blame import raised_by_planner
from planner.cost.prices.tables import OWN_COLUMNS, gpu_names, price_rows
from planner.errors import MachineError, MissingExtraError, PlannerError
from planner.today import system_date

#: gpuhunt's name of a provider → ours, where they differ.
PROVIDERS = {"lambdalabs": "lambda", "oci": "oracle", "datacrunch": "verda", "vastai": "vast"}


def fetch(
    gpu_key: Callable[[str], str],
    *,
    regions: Iterable[str] = (),
    on_date: datetime.date | None = None,
) -> tuple[list[dict[str, str]], list[str]]:
    """(rows, names of GPUs that could not be told apart). Of each instance type the cheapest
    region, and every region asked for.

    Raises MissingExtraError without gpuhunt, MachineError where its catalogue cannot be reached.
    """
    try:
        import gpuhunt
    except ImportError:
        raise MissingExtraError("gpuhunt", "prices", "planner prices refresh") from None
    logging.getLogger("gpuhunt").addHandler(logging.NullHandler())
    # it logs a traceback for each provider that is away
    logging.getLogger("gpuhunt").propagate = False
    catalog = gpuhunt.Catalog(auto_reload=False)
    try:
        catalog.load()
    except Exception as error:  # its errors, urllib's, and whatever a damaged file brings
        if raised_by_planner(error):
            raise
        raise MachineError(
            "the price catalogue of gpuhunt cannot be reached",
            where="planner prices refresh",
            mend="Check the network, or import a file with planner prices import; the prices "
            "at hand stay",
        ) from error
    rows, unknown = [], set()
    for name, provider in sorted(catalog.catalog.items()):
        found, strange = rows_of(
            provider.items,
            PROVIDERS.get(name, name),
            _version_date(provider.version) or on_date or system_date(),
            gpu_key,
            set(regions),
        )
        rows += found
        unknown |= strange
    return rows, sorted(unknown)


def rows_of(
    items: Iterable[Any],
    provider: str,
    captured: datetime.date,
    gpu_key: Callable[[str], str],
    regions: set[str],
) -> tuple[list[dict[str, str]], set[str]]:
    """Rows of one provider's catalogue, and the GPUs' names that no key could be told for. Prices
    that are not above zero are left out."""
    chosen: dict[tuple[str, bool, str], Any] = {}
    for item in items:
        if not item.gpu_count or not item.gpu_name or not item.price or item.price <= 0:
            continue
        where = item.location if item.location in regions else ""
        best = (item.instance_name, bool(item.spot), where)
        if best not in chosen or item.price < chosen[best].price:
            chosen[best] = item
    rows, unknown = [], set()
    for item in chosen.values():
        key = _key(item, provider, gpu_key)
        if key is None:
            unknown.add(
                f"{item.gpu_name} {item.gpu_memory:g} GB at {provider}"
                if item.gpu_memory
                else f"{item.gpu_name} at {provider}"
            )
        else:
            rows.append(_row(item, provider, key, captured))
    return rows, unknown


def _key(item: Any, provider: str, gpu_key: Callable[[str], str]) -> str | None:
    """The device: as the shipped tables have this instance type, else by its name where that means
    one device."""
    for row in price_rows():
        if (
            row["provider"] == provider
            and row["instance_type"] == item.instance_name
            and row["gpu_key"]
        ):
            return row["gpu_key"]
    memory = f"{item.gpu_memory:g}" if item.gpu_memory else ""
    named = gpu_names().get((item.gpu_name, memory, provider))
    if named:
        return named["gpu_key"] or None
    try:
        return gpu_key(f"{item.gpu_name} {memory}GB".strip())
    except PlannerError:
        return None


def _row(item: Any, provider: str, key: str, captured: datetime.date) -> dict[str, str]:
    return dict.fromkeys(OWN_COLUMNS, "") | {
        "provider": provider,
        "region": item.location or "any",
        "instance_type": item.instance_name,
        "gpu": item.gpu_name,
        "gpu_key": key,
        "gpu_count": str(item.gpu_count),
        "gpu_mem_gib": f"{item.gpu_memory:g}" if item.gpu_memory else "",
        "vcpus": f"{item.cpu:g}" if item.cpu else "",
        "ram_gib": f"{item.memory:g}" if item.memory else "",
        "spot_usd_per_instance_hour" if item.spot else "usd_per_instance_hour": repr(
            float(item.price)
        ),
        "captured_date": captured.isoformat(),
        "kind": "catalogue",
        "source": f"gpuhunt catalogue of {captured}",
    }


def _version_date(version: str) -> datetime.date | None:
    """gpuhunt's versions begin with the day: 20261120-1234."""
    try:
        return datetime.datetime.strptime(version[:8], "%Y%m%d").date()
    except ValueError:
        return None
