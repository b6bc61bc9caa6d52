"""Prices of the user's own: read from a CSV of contracts, checked, turned into USD, and kept in the
user's own folder."""

from __future__ import annotations

import csv
import datetime
import io
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from planner import tables
from planner.cost.prices.tables import OWN_COLUMNS, read_own, user_folder
from planner.errors import DataError, MachineError, QuestionError, UnknownNameError
from planner.files import read_text
from planner.today import today

REQUIRED = ("provider", "gpu")
OPTIONAL = (
    "usd_per_gpu_hour",
    "usd_per_instance_hour",
    "gpu_count",
    "instance_type",
    "region",
    "spot",
    "commitment",
    "valid_from",
    "valid_until",
    "currency",
)
MAX_BYTES = 20_000_000
_YES, _NO = ("yes", "true", "1", "spot"), ("", "no", "false", "0", "on-demand")


def read_contracts(
    path: Path, gpu_key: Callable[[str], str], *, on_date: datetime.date | None = None
) -> list[dict[str, str]]:
    """The rows of a contract file as rows of a table of the user's own. ``gpu_key(name)`` settles
    what a GPU is called.

    Raises DataError naming the line for a column that is missing or unknown, a price that is
    missing, zero, negative or no number, a currency without a rate, a GPU that is not known, and a
    contract that ends before it starts or has ended.
    """
    day = on_date or today()
    rows = []
    for line, cells in _lines(path):
        try:
            rows.append(_row(cells, gpu_key, day, path.name))
        except (QuestionError, UnknownNameError) as error:
            raise DataError(str(error), where=f"{path} line {line}") from None
    if not rows:
        raise DataError(
            "no rows", where=str(path), mend=f"Columns: {', '.join(REQUIRED + OPTIONAL)}"
        )
    return rows


def _lines(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"larger than {MAX_BYTES} bytes, no table of prices", where=str(path))
        text = read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path)
        ) from None
    reader = csv.DictReader(io.StringIO(text))
    header = [name.strip().lower() for name in reader.fieldnames or ()]
    wrong = [name for name in header if name not in REQUIRED + OPTIONAL] or [
        name for name in REQUIRED if name not in header
    ]
    if wrong:
        raise DataError(
            f"column {wrong[0]!r} is {'unknown' if wrong[0] in header else 'missing'}",
            where=str(path),
            mend=f"Columns: {', '.join(REQUIRED + OPTIONAL)}",
        )
    reader.fieldnames = header
    for cells in reader:
        if any(value and str(value).strip() for value in cells.values()):
            if None in cells:
                raise DataError("more cells than columns", where=f"{path} line {reader.line_num}")
            yield reader.line_num, {name: (value or "").strip() for name, value in cells.items()}


def _row(
    cells: dict[str, str], gpu_key: Callable[[str], str], day: datetime.date, name: str
) -> dict[str, str]:
    get = lambda column: cells.get(column, "")  # noqa: E731
    count = _count(get("gpu_count"))
    price, note = _in_usd(_price(cells, count), get("currency"))
    start, end = _date(get("valid_from"), "valid_from"), _date(get("valid_until"), "valid_until")
    if start and end and end < start:
        raise QuestionError(f"valid_until {end} is before valid_from {start}")
    if end and end < day:
        raise QuestionError(f"the contract ended on {end}")
    spot = _flag(get("spot"))
    row = dict.fromkeys(OWN_COLUMNS, "") | {
        "provider": slug(get("provider")),
        "region": get("region") or "any",
        "instance_type": get("instance_type"),
        "gpu": get("gpu"),
        "gpu_key": gpu_key(get("gpu")),
        "gpu_count": str(count),
        "commitment": get("commitment"),
        "valid_from": get("valid_from"),
        "valid_until": get("valid_until"),
        "captured_date": day.isoformat(),
        "date_note": note,
        "kind": "contract",
        "source": f"imported from {name} on {day}",
    }
    row["spot_usd_per_instance_hour" if spot else "usd_per_instance_hour"] = repr(price)
    return row


def slug(provider: str) -> str:
    """A provider's name as a file may have it. Raises QuestionError."""
    name = re.sub(r"[\s_]+", "-", provider.strip().lower())
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", name):
        raise QuestionError(
            f"provider {provider!r} is no name", mend="Use letters, digits and dashes"
        )
    return name


def _price(cells: dict[str, str], count: int) -> float:
    """USD (or the row's currency) an hour of the instance."""
    given = [name for name in ("usd_per_gpu_hour", "usd_per_instance_hour") if cells.get(name)]
    if len(given) != 1:
        raise QuestionError("give either usd_per_gpu_hour or usd_per_instance_hour")
    try:
        value = float(cells[given[0]])
    except ValueError:
        raise QuestionError(f"{given[0]} {cells[given[0]]!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise QuestionError(f"{given[0]} {value:g} is not above zero")
    return value * count if given[0] == "usd_per_gpu_hour" else value


def _in_usd(price: float, currency: str) -> tuple[float, str]:
    code = currency.upper() or "USD"
    if code == "USD":
        return price, ""
    for row in tables.rows("prices", "terms", "currencies.csv"):
        if row["currency"] == code:
            rate = float(row["usd_per_unit"])
            return price * rate, f"{price:g} {code} at {rate:g} USD of {row['rate_date']}"
    known = [row["currency"] for row in tables.rows("prices", "terms", "currencies.csv")]
    raise UnknownNameError(
        "currency", currency, known, mend=f"Known: {', '.join(known)}; or give the price in USD"
    )


def _count(text: str) -> int:
    if not text:
        return 1
    if not text.isdigit() or int(text) < 1:
        raise QuestionError(f"gpu_count {text!r} is not a whole number above zero")
    return int(text)


def _date(text: str, column: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text) if text else None
    except ValueError:
        raise QuestionError(f"{column} {text!r} is no date such as 2027-01-31") from None


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise QuestionError(f"spot {text!r} is neither yes nor no")


def keep(rows: Iterable[dict[str, str]]) -> list[Path]:
    """Add rows to the user's own tables, one file a provider, each written whole; rows that are
    there already stay once. Raises ProfileError for a table that cannot be read, MachineError for
    one that cannot be written."""
    by_provider: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_provider.setdefault(row["provider"], []).append(row)
    written = []
    for provider, new in sorted(by_provider.items()):
        path = user_folder() / f"{provider}.csv"
        old = read_own(path) if path.exists() else []
        _write(path, list({tuple(row[c] for c in OWN_COLUMNS): None for row in [*old, *new]}))
        written.append(path)
    return written


def _write(path: Path, rows: list[tuple[str, ...]]) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w",
            dir=path.parent,
            prefix=f".{path.name}.",
            suffix=".tmp",
            newline="",
            encoding="utf-8",
            delete=False,
        ) as file:
            temporary = Path(file.name)
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(OWN_COLUMNS)
            writer.writerows(rows)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise MachineError(f"cannot be written: {error.strerror}", where=str(path)) from error
