"""How many keys of real configurations of other tools are understood.

    python benchmarks/imported_configs.py                                  # the page, to the screen
    python benchmarks/imported_configs.py --write docs/imported_configs.md

The files are in ``tests/question/importers/examples``: the keys and values of the tools' published
examples, with the place of each in ``sources.csv``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner.files import write  # noqa: E402
from planner.question import Question  # noqa: E402
from planner.question.files import project_file  # noqa: E402
from planner.question.files.of_file import imported  # noqa: E402
from planner.question.importers.keys import (  # noqa: E402
    CANNOT_BE_ASKED,
    FATES,
    UNKNOWN,
    Imported,
)

EXAMPLES = ROOT / "tests" / "question" / "importers" / "examples"
HEAD = """# Configurations of other tools

`planner estimate FILE` reads the file that a training already has, and `planner convert FILE` says
what was understood of it ([how to](how_to/own_files.md)). Below are published examples of each
tool, their keys and values re-written: of every file how many keys were understood, how many have
no bearing on time, memory or money, how many cannot be asked yet and how many are unknown. A key
stands in one of the four, nothing is dropped. Made by `benchmarks/imported_configs.py`; what a key
means is a row of `profiles/importers/`.

The tables were written with these examples and the tools' own lists of arguments at hand, so that
few keys of theirs are unknown; a key that a tool gets tomorrow will be, and is then named in the
first lines of the answer.
"""


@dataclass(frozen=True)
class Example:
    """One published file. ``source``: its address at a commit."""

    file: Path
    source: str
    tool: str
    found: Imported

    def count(self, fate: str) -> int:
        return len(self.found.of(fate))


def examples() -> Iterator[Example]:
    """Every example, by tool and name. Raises QuestionError for one that cannot be read."""
    with (EXAMPLES / "sources.csv").open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            file = EXAMPLES / row["file"]
            keys = project_file.read(file, Question.model_fields)
            assert keys.importer is not None, f"{file} is no tool's"
            yield Example(file, row["source"], keys.importer.tool, imported(file))


def page(found: list[Example]) -> str:
    """The page of the documentation."""
    folders = sorted({one.file.parent.name for one in found})
    lines = [HEAD, "## By tool", "", *_head("Examples of", "Files", "Keys")]
    for folder in folders:
        files = [one for one in found if one.file.parent.name == folder]
        lines.append(_row(f"{files[0].tool}", str(len(files)), files))
    lines.append(_row("all", str(len(found)), found))
    for folder in folders:
        files = [one for one in found if one.file.parent.name == folder]
        lines += ["", f"## {folder}", "", *_head("File", "Keys")]
        lines += [_row(f"[{one.file.name}]({one.source})", None, [one]) for one in files]
        for words, fate in (("Cannot be asked yet", CANNOT_BE_ASKED), ("Unknown", UNKNOWN)):
            names = sorted(
                {_name(each.head or each.key) for one in files for each in one.found.of(fate)}
            )
            if names:
                lines += ["", f"{words}: {', '.join(f'`{name}`' for name in names)}."]
    return "\n".join([*lines, ""])


def _name(key: str) -> str:
    return key.replace("[0]", "[]").replace("[1]", "[]")


def _head(*columns: str) -> list[str]:
    names = [*columns, "understood", "without bearing", "cannot be asked", "unknown"]
    return [
        f"| {' | '.join(names)} |",
        f"| --- {'| --: ' * (len(names) - 1)}|",
    ]


def _row(name: str, files: str | None, found: list[Example]) -> str:
    counts = [sum(one.count(fate) for one in found) for fate in FATES]
    cells = [name, *([files] if files else []), str(sum(counts)), *map(str, counts)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE")
    target = parser.parse_args().write
    text = page(list(examples()))
    if target is None:
        print(text)
    else:
        write(target, text)


if __name__ == "__main__":
    main()
