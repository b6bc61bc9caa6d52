"""The pages of the reference, made from the code: what is not in it cannot be on them."""

from __future__ import annotations

from collections.abc import Callable

from reference import commands, formats, names, python, question


def all_pages() -> dict[str, str]:
    """name → Markdown."""
    made: dict[str, Callable[[], str]] = {
        "commands": commands.made,
        "fields": question.fields,
        "answer": question.answer,
        "strategies": names.strategies,
        "stacks": names.stacks,
        "gpus": names.gpus,
        "models": names.models,
        "formats": formats.made,
        "python": python.made,
    }
    return {name: make() for name, make in made.items()}
