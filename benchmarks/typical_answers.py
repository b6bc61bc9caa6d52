"""What surrounds the steps in a typical answer, phase by phase, in minutes and dollars:

    python benchmarks/typical_answers.py --write docs/typical_answers.md

Asks the planner with the traces that it ships; nothing is measured and nothing fetched. An earlier
planner's minutes (``--figures`` writes them) stand beside.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from planner.cli.writing import write  # noqa: E402
from planner.units import SECONDS_PER_HOUR  # noqa: E402

MINUTES = 60.0
BEFORE = Path(__file__).resolve().parent.parent / "docs" / "typical_answers_baseline.csv"
COLUMNS = ("question", "phase", "minutes")
#: Of a whole run in the figures.
WHOLE, BARE = "whole run", "bare steps"
HEAD = """# What surrounds the steps in a typical answer

Written by `python benchmarks/typical_answers.py --write docs/typical_answers.md`; every number
comes out of it, none is edited by hand.

Minutes, medians. "Bare steps" is the number of steps times the time of one; the columns after it
were added to it, and sum with it to the whole run. Dollars are those of the answer; "of it added"
is their share that is paid while no step runs.

"""
#: Of the training phase what is not the bare steps: loader, trainer, warm-up.
AROUND = "around the steps"


@dataclass(frozen=True)
class Typical:
    """A question as people ask it. ``fields`` are those of ``planner.Question``."""

    words: str
    model: str
    fields: dict[str, Any] = field(hash=False)


_CHATS = dict(samples=10_000, tokens_per_sample=600, task="causal_lm", strategy=["qlora"])
_SPEECH = dict(
    audio_hours=40, seconds_per_sample=10, task="speech_recognition", strategy=["fine_tune"]
)
TYPICAL = (
    Typical(
        "QLoRA of a 7B on 10,000 chats, A100",
        "Mistral-7B-v0.3",
        dict(**_CHATS, gpu="NVIDIA A100-SXM4-80GB"),
    ),
    Typical(
        "QLoRA of a 7B on 10,000 chats, RTX 4090",
        "Mistral-7B-v0.3",
        dict(**_CHATS, gpu="NVIDIA GeForce RTX 4090"),
    ),
    Typical(
        "BERT-base on 20,000 e-mails, T4",
        "bert-base-uncased",
        dict(
            samples=20_000,
            tokens_per_sample=180,
            task="text_classification",
            classes=8,
            strategy=["fine_tune"],
            gpu="T4",
        ),
    ),
    Typical(
        "ViT-base on 5,000 photos, T4",
        "google/vit-base-patch16-224",
        dict(samples=5_000, classes=10, strategy=["fine_tune"], gpu="T4"),
    ),
    Typical("Whisper-small on 40 hours, L4", "openai/whisper-small", dict(**_SPEECH, gpu="L4")),
    Typical("Whisper-small on 40 hours, T4", "openai/whisper-small", dict(**_SPEECH, gpu="T4")),
)


@dataclass(frozen=True)
class Added:
    """Minutes of a run: its bare steps, and every phase with what is around the steps in the
    training. ``usd`` of the whole run, ``None`` where nobody rents the device; ``wall`` the 80 %
    interval in minutes."""

    words: str
    epochs: float
    steps: int
    bare: float
    phases: dict[str, float]
    usd: float | None
    wall: tuple[float, float]
    lines: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return self.bare + sum(self.phases.values())

    @property
    def added_share(self) -> float:
        """Of the whole run what is not a bare step."""
        return 1 - self.bare / self.total

    @property
    def added_usd(self) -> float | None:
        return None if self.usd is None else self.usd * self.added_share


def ask(one: Typical) -> Added:
    from planner import estimate

    answer = estimate(one.model, offline=True, **one.fields)
    lines = tuple(line["text"] for line in answer["first_lines"] if line["text"])
    return added(one.words, answer["options"][0], lines)


def added(words: str, option: dict[str, Any], lines: tuple[str, ...] = ()) -> Added:
    """Of an option of the answer's document."""
    run, step = option["run"], option["step"]["seconds"]["p50"]
    phases = {name: hours * MINUTES for name, hours in run["breakdown_hours"].items()}
    bare = run["steps"] * step / SECONDS_PER_HOUR * MINUTES
    around = phases.pop("training") - bare
    cost = option["cost"]
    wall = run["wall_hours"]
    return Added(
        words,
        run["epochs"],
        run["steps"],
        bare,
        {**phases, AROUND: around},
        None if cost is None else cost["usd"]["p50"],
        (wall["p10"] * MINUTES, wall["p90"] * MINUTES),
        lines,
    )


def table(found: Iterable[Added]) -> str:
    """Markdown: a row a question, a column a phase."""
    rows = list(found)
    phases = list(dict.fromkeys(name for row in rows for name in row.phases))
    head = ["question", "steps", BARE, *(_words(name) for name in phases)]
    head += ["whole run (80 %)", "added", "USD", "of it added"]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for row in rows:
        low, high = row.wall
        cells = [row.words, f"{row.steps:,}", _minutes(row.bare)]
        cells += [_minutes(row.phases.get(name, 0.0)) for name in phases]
        cells += [
            f"{_minutes(row.total)} ({_minutes(low)} to {_minutes(high)})",
            f"{row.added_share:.0%}",
            _usd(row.usd),
            _usd(row.added_usd),
        ]
        lines.append(_row(cells))
    return "\n".join(lines)


def figures(found: Iterable[Added]) -> str:
    """CSV: minutes of every phase of every question."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found:
        parts = {BARE: row.bare, **row.phases, WHOLE: row.total}
        writer.writerows((row.words, name, f"{value:.4f}") for name, value in parts.items())
    return out.getvalue()


def read(text: str) -> dict[tuple[str, str], float]:
    """(question, phase) → minutes of what ``figures`` wrote."""
    rows = csv.DictReader(io.StringIO(text))
    return {(row["question"], row["phase"]): float(row["minutes"]) for row in rows}


def since(found: Iterable[Added], before: Mapping[tuple[str, str], float]) -> str:
    """Markdown: what each phase has now and had before, of questions that were asked before."""
    rows = [row for row in found if (row.words, WHOLE) in before]
    phases = list(dict.fromkeys(name for row in rows for name in row.phases))
    head = ["question", BARE, *(_words(name) for name in phases), WHOLE]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for row in rows:
        parts = {BARE: row.bare, **row.phases, WHOLE: row.total}
        cells = [
            f"{_minutes(before.get((row.words, name), 0.0))} → {_minutes(parts[name])}"
            for name in (BARE, *phases, WHOLE)
        ]
        lines.append(_row([row.words, *cells]))
    return "\n".join(lines)


def document(found: Iterable[Added], before: Mapping[tuple[str, str], float]) -> str:
    rows = list(found)
    assumed = "\n\n".join(
        f"**{row.words}**\n\n" + "\n".join(f"- {line}" for line in row.lines) for row in rows
    )
    parts = [HEAD + table(rows)]
    if before:
        parts.append(f"## Before and now\n\n{since(rows, before)}")
    parts.append(f"## What each answer assumes\n\n{assumed}")
    return "\n\n".join(parts) + "\n"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="questions whose words hold this")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--figures", type=Path, metavar="FILE.csv", help="every figure")
    args = parser.parse_args(words)
    found = [ask(one) for one in TYPICAL if not args.only or args.only in one.words]
    print(table(found))
    before = read(BEFORE.read_text(encoding="utf-8")) if BEFORE.exists() else {}
    if args.write:
        write(args.write, document(found, before))
    if args.figures:
        write(args.figures, figures(found))
    return 0


def _words(name: str) -> str:
    return name.replace("_", "-")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _minutes(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.05 else "0"


def _usd(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
