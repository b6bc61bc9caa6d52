"""Rewrites what timm's names mean, from the installed timm.

    python benchmarks/refresh_timm_names.py

``profiles/models/timm_renames.csv``: the names that timm deprecates and what they are called now
(``register_model_deprecations``); a blank one was removed. ``profiles/models/timm_tags.csv``: the
weights (NAME.TAG) whose images have another size than the name's default weights.
"""

from __future__ import annotations

import csv
import datetime
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner import tables  # noqa: E402
from planner.libraries import import_library  # noqa: E402


def renames() -> list[tuple[str, str]]:
    """(old name, new name or blank), sorted."""
    from timm.models import _registry

    return sorted((old, new or "") for old, new in _registry._deprecated_models.items())


def tags() -> list[tuple[str, int]]:
    """(NAME.TAG, pixels) where they differ from NAME's own."""
    import timm

    found = []
    for name in timm.list_models():
        default = timm.get_pretrained_cfg(name).input_size[-1]
        for full in timm.list_models(f"{name}.*", pretrained=True):
            size = timm.get_pretrained_cfg(full).input_size[-1]
            if full.partition(".")[0] == name and size != default:
                found.append((full, size))
    return sorted(found)


def write(file: str, comment: str, header: tuple[str, ...], rows: list[tuple]) -> None:
    with tables.path("models", file).open("w", encoding="utf-8", newline="") as handle:
        handle.write(f"# {comment}\n")
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> int:
    timm = import_library("timm", "the tables of timm's names")
    source = f"Source: timm {timm.__version__}, read {datetime.date.today()}."
    write(
        "timm_renames.csv",
        f"Names that timm has given up and what they are called now, blank where removed. {source}",
        ("name", "now"),
        renames(),
    )
    write(
        "timm_tags.csv",
        f"Weights of timm whose images have another size than their name's default. {source}",
        ("name", "image_size"),
        tags(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
