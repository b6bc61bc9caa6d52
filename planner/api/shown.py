"""A document as a notebook shows it: one line, a small table in Markdown and in HTML. Words of
strangers are escaped; the HTML has neither script nor address."""

from __future__ import annotations

import html as escaping
from collections.abc import Callable, Mapping, Sequence
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


def markdown(answer: Json) -> str:
    """The sentence and the table."""
    best = recommended_option(answer)
    lines = [f"| {' | '.join(HEADERS)} |", f"|{' --- |' * len(HEADERS)}"]
    for option in _shown(answer):
        words = ["<br>".join(map(escaped, cell)) for cell in cells(option)]
        words[0] = f"**{words[0]}**" if option is best else words[0]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join([escaped(_sentence(answer)), "", *lines, "", *_rest(answer)]).rstrip() + "\n"


def escaped(text: str) -> str:
    """A text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in SPECIAL else letter for letter in text)


def html(answer: Json) -> str:
    """The same as a table of HTML, styled by attributes alone."""
    best = recommended_option(answer)
    head = "".join(f'<th scope="col" style="{CELL}">{name}</th>' for name in HEADERS)
    body = "".join(_html_row(option, option is best) for option in _shown(answer))
    rest = "".join(f"<p>{escaping.escape(line)}</p>" for line in _rest(answer))
    return (
        f"<div><p>{escaping.escape(_sentence(answer))}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{rest}</div>"
    )


def _html_row(option: Json, best: bool) -> str:
    weight = ";font-weight:bold" if best else ""
    shown = "".join(
        f'<td style="{CELL}">{"<br>".join(map(escaping.escape, cell))}</td>'
        for cell in cells(option)[1:]
    )
    name = escaping.escape(_strategy(option))
    return f'<tr><th scope="row" style="{CELL}{weight}">{name}</th>{shown}</tr>'


def _sentence(answer: Json) -> str:
    best = recommended_option(answer)
    model = clean(answer["question"]["model"])
    if best is None:
        return f"{model}: nothing can be recommended."
    why = clean(answer["recommended"]["why"])
    return f"{model}: {', '.join(_facts(best))}. {why}"


def _shown(answer: Json) -> Sequence[Json]:
    return answer["options"][:MOST_ROWS]


def _rest(answer: Json) -> list[str]:
    left = len(answer["options"]) - MOST_ROWS
    return [f"{left} more in answer.options."] if left > 0 else []
