"""A document as a notebook shows it: one line, a small table in Markdown and in HTML. Words of
strangers are escaped; the HTML has neither script nor address."""

from __future__ import annotations

import html as escaping
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.answer.limits import recommended_option
from planner.report.words import bytes_text, clean, figure_text, hours_text, percentiles, usd_text

Json = Mapping[str, Any]
HEADERS = ("Strategy", "GPU", "Fits", "Memory", "Hours", "Cost")
#: Rows of a table that keeps a notebook readable.
MOST_ROWS = 12
#: Of ``Markdown``: what would end a cell or begin markup.
SPECIAL = "\\`*_{}[]<>#|~!&$"
CELL = "text-align:left;vertical-align:top"


def short(answer: Json) -> str:
    """``<Answer gpt2: lora on NVIDIA L4, 4.33 min (3.3–9 min), $0.05 ($0.03–$0.11); 3 options>``"""
    best = recommended_option(answer)
    said = "nothing recommended" if best is None else ", ".join(_facts(best))
    return f"<Answer {clean(answer['question']['model'])}: {said}; {_options(answer)}>"


def _options(answer: Json) -> str:
    count = len(answer["options"])
    return f"{count} option{'' if count == 1 else 's'}"


def _facts(option: Json) -> list[str]:
    run, cost = option.get("run"), option.get("cost")
    return [
        f"{_strategy(option)}{f' on {_gpu(option)}' if option.get('gpu') else ''}",
        *([figure_text(run["wall_hours"], hours_text)] if run else []),
        *([figure_text(cost["usd"], usd_text)] if cost else []),
    ]


def cells(option: Json) -> list[tuple[str, ...]]:
    """Of an option's row each cell: its text, and a second line where there is one."""
    memory, run, cost = option.get("memory"), option.get("run"), option.get("cost")
    return [
        (_strategy(option),),
        (_gpu(option),),
        ({None: "", True: "yes", False: "no"}[option.get("fits")],),
        (
            bytes_text(memory["device_used_bytes"]["p50"]),
            f"of {bytes_text(memory['device_total_bytes'])}",
        )
        if memory
        else ("",),
        _spread(run and run["wall_hours"], hours_text),
        _spread(cost and cost["usd"], usd_text),
    ]


def _spread(figure: Mapping[str, float] | None, word: Callable[..., str]) -> tuple[str, ...]:
    return ("",) if figure is None else percentiles(figure, word)


def _strategy(option: Json) -> str:
    return ", ".join(clean(part) for part in (option["strategy"], option.get("variant")) if part)


def _gpu(option: Json) -> str:
    gpu = clean(option.get("gpu") or "")
    return f"{option['gpus']} × {gpu}" if gpu and option["gpus"] > 1 else gpu


@dataclass(frozen=True)
class Shown:
    """A sentence and a table below it. A cell is its lines; ``best``: the row that is marked;
    ``rest``: what stands below."""

    sentence: str
    headers: tuple[str, ...]
    rows: list[list[tuple[str, ...]]]
    best: int | None
    rest: list[str]

    def markdown(self) -> str:
        lines = [f"| {' | '.join(self.headers)} |", f"|{' --- |' * len(self.headers)}"]
        for index, row in enumerate(self.rows):
            words = ["<br>".join(map(escaped, cell)) for cell in row]
            words[0] = f"**{words[0]}**" if index == self.best else words[0]
            lines.append(f"| {' | '.join(words)} |")
        rest = [escaped(line) for line in self.rest]
        return "\n".join([escaped(self.sentence), "", *lines, "", *rest]).rstrip() + "\n"

    def html(self) -> str:
        """A table of HTML, styled by attributes alone."""
        head = "".join(f'<th scope="col" style="{CELL}">{name}</th>' for name in self.headers)
        body = "".join(_html_row(row, index == self.best) for index, row in enumerate(self.rows))
        rest = "".join(f"<p>{escaping.escape(line)}</p>" for line in self.rest)
        return (
            f"<div><p>{escaping.escape(self.sentence)}</p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{rest}</div>"
        )


def _html_row(row: Sequence[Sequence[str]], best: bool) -> str:
    first, *others = ["<br>".join(map(escaping.escape, cell)) for cell in row]
    weight = ";font-weight:bold" if best else ""
    shown = "".join(f'<td style="{CELL}">{cell}</td>' for cell in others)
    return f'<tr><th scope="row" style="{CELL}{weight}">{first}</th>{shown}</tr>'


def escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in text)


def of_answer(answer: Json) -> Shown:
    best = recommended_option(answer)
    options = answer["options"][:MOST_ROWS]
    marked = next((i for i, option in enumerate(options) if option is best), None)
    left = len(answer["options"]) - MOST_ROWS
    rest = [f"{left} more in answer.options."] if left > 0 else []
    return Shown(_sentence(answer), HEADERS, [cells(one) for one in options], marked, rest)


def _sentence(answer: Json) -> str:
    best = recommended_option(answer)
    model = clean(answer["question"]["model"])
    if best is None:
        return f"{model}: nothing can be recommended."
    why = clean(answer["recommended"]["why"])
    return f"{model}: {', '.join(_facts(best))}. {why}"


def short_decision(decision: Json) -> str:
    """``<Decision gpt2: lora on NVIDIA L4 at runpod, 3 min (2–7 min), $0.03 ($0.02–$0.06)>``"""
    return f"<Decision {clean(decision['question']['model'])}: {_advice(decision)}>"


def of_decision(decision: Json) -> Shown:
    """The front: of which ways no other is both cheaper and faster."""
    best, ways = decision["recommended"], decision["front"]["ways"]
    place = ("gpu", "gpus", "provider", "instance_type", "region")
    marked = next(
        (i for i, way in enumerate(ways) if best and all(way[k] == best.get(k) for k in place)),
        None,
    )
    why = f". {clean(best['why'])}" if best else "."
    sentence = f"{clean(decision['question']['model'])}: {_advice(decision)}{why}"
    headers = ("GPU", "Provider", "Strategy", "Hours", "Cost")
    return Shown(sentence, headers, [_way_cells(way) for way in ways], marked, [])


def _way_cells(way: Json) -> list[tuple[str, ...]]:
    return [
        (_gpu(way),),
        (clean(way["provider"] or ""),),
        (_strategy(way),),
        _spread(way.get("wall_hours"), hours_text),
        _spread(way["usd"], usd_text),
    ]


def _advice(decision: Json) -> str:
    best = decision["recommended"]
    if best is None:
        return "nothing can be recommended"
    on = f" on {_gpu(best)}" if best.get("gpu") else ""
    at = f" at {clean(best['provider'])}" if best.get("provider") else ""
    hours = best.get("wall_hours")
    return ", ".join(
        [
            f"{_strategy(best)}{on}{at}",
            *([figure_text(hours, hours_text)] if hours else []),
            figure_text(best["usd"], usd_text),
        ]
    )
