"""Errors that say what is wrong, where, and how to mend it, in one line.

The command line prints ``str(error)`` and leaves with ``error.exit_code``; nothing else decides
exit codes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar

#: How a field is called: its name, and whether it is meant switched off.
Spelling = Callable[[str, bool], str]


def flag(name: str, off: bool = False) -> str:
    """``lora_rank`` → ``--lora-rank``, the command line's spelling; ``off``: ``--no-…``."""
    return f"--{'no-' if off else ''}{name.replace('_', '-')}"


_spelling: ContextVar[Spelling] = ContextVar("spelling", default=flag)


@contextmanager
def fields_spelled(spelling: Spelling) -> Generator[None, None, None]:
    """Inside, sentences call fields as ``spelling`` does: a form by its labels, a notebook by the
    names of arguments. Outside they are called as the command line calls them."""
    token = _spelling.set(spelling)
    try:
        yield
    finally:
        _spelling.reset(token)


class FieldName(str):
    """Fields of a question or settings of a command, named in a sentence or as the ``where`` of an
    error: a text as whoever asks spells them, which remembers their ``names``.

    ``text``: the place where the field was set, such as a line of a file, in place of its name.
    ``off``: the field is meant switched off.
    """

    names: tuple[str, ...]

    def __new__(cls, *names: str, text: str | None = None, off: bool = False) -> FieldName:
        spelling = _spelling.get()
        spelled = ", ".join(spelling(name, off) for name in names) if text is None else text
        field = super().__new__(cls, spelled)
        field.names = names
        return field


class PlannerError(Exception):
    """Base of every error that a user can cause or mend. ``exit_code`` 2: the question is wrong.
    ``fields``: the fields that are wrong, so that a form can show the error at them."""

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None):
        self.what, self.where, self.mend = what, where, mend
        self.fields = where.names if isinstance(where, FieldName) else ()
        line = what if where is None else f"{where}: {what}"
        super().__init__(" ".join((line if mend is None else f"{line}. {mend}").split()))


class QuestionError(PlannerError):
    """A value of the question is wrong or contradicts another."""


class UnknownNameError(PlannerError):
    """A name (model, GPU, provider, strategy, column) that is not known; the nearest known ones are
    offered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, mend: str | None = None):
        near = nearest(name, known)
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        super().__init__(
            f"unknown {kind} {name!r}", mend=" ".join(filter(None, [hint, mend])) or None
        )


class ModelError(PlannerError):
    """A model that cannot be found, read or built."""


class NoCheckpointingError(ModelError):
    """A model that has no gradient checkpointing."""


class ImageSizeError(ModelError):
    """A size of images that a model does not take, whichever way it is trained."""


class DataError(PlannerError):
    """A dataset that cannot be read or counted."""


class ProfileError(PlannerError):
    """A shipped or user-made table (GPU, price, trace, device profile) that is malformed."""


class MissingExtraError(PlannerError):
    """An optional library is needed: names the extra that brings it."""

    def __init__(self, library: str, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs {library}", mend=f"Install it with: pip install 'planner[{extra}]'"
        )


class MachineError(PlannerError):
    """The machine failed the question (disk full, no permission, a driver that died). Exit code
    3."""

    exit_code = 3


def nearest(name: str, known: Iterable[str], count: int = 3, *, cutoff: float = 0.5) -> list[str]:
    """The up to ``count`` known names closest to ``name`` (case-insensitive), best first; those
    that begin with it come before those that are spelt alike. ``cutoff``: how alike at the least,
    of 1; with 0 some are found for any name."""
    import difflib  # for those who misspell

    table = {item.lower(): item for item in known}
    start = name.lower()
    longer = sorted((each for each in table if start and each.startswith(start)), key=len)
    alike = difflib.get_close_matches(start, table, n=count, cutoff=cutoff)
    return [table[hit] for hit in dict.fromkeys([*longer, *alike])][:count]
