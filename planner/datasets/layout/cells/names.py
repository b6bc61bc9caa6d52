"""Names that people give to columns, message keys and speakers: rows of
``profiles/datasets/roles.csv``."""

from __future__ import annotations

import re
from functools import cache

from planner import tables

TABLE = ("datasets", "roles.csv")
#: Inner names that say nothing: the outer name of ``answers.text`` decides.
PLAIN = ("text", "content", "value", "string", "body", "data")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ODD = re.compile(r"[\W_]+")
_ORDINAL = re.compile(r"_?(\d+|[ab])$|_[c-h]$|(?<=..)[c-h]$")


@cache
def words(kind: str, meaning: str) -> tuple[str, ...]:
    """The names of a meaning, in the order of the table."""
    return tuple(
        name
        for row in tables.rows(*TABLE)
        if (row["kind"], row["meaning"]) == (kind, meaning)
        for name in row["names"].split()
    )


@cache
def _meanings(kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in tables.rows(*TABLE):
        if row["kind"] == kind:
            for name in row["names"].split():
                found.setdefault(name, row["meaning"])
    return found


@cache
def pairs(meaning: str) -> tuple[tuple[str, ...], ...]:
    """Names that stand side by side: ``transfer`` is (source, target), ``pair`` two or three texts
    that are compared."""
    return tuple(
        tuple(row["names"].split())
        for row in tables.rows(*TABLE)
        if row["kind"] == "pair" and row["meaning"] == meaning
    )


@cache
def normal(name: str) -> str:
    """``System Prompt``, ``system-prompt`` → ``system_prompt``; capitals inside of a name part it
    where the table knows the parts: ``systemPrompt``, but ``Complex_CoT`` → ``complex_cot``."""
    plain = _ODD.sub("_", name.strip()).strip("_").lower()
    parted = _ODD.sub("_", _WORD_START.sub("_", name.strip())).strip("_").lower()
    return plain if plain in _all_names() or parted not in _all_names() else parted


@cache
def _all_names() -> frozenset[str]:
    return frozenset(name for row in tables.rows(*TABLE) for name in row["names"].split())


@cache
def role_of(path: str) -> tuple[str, bool]:
    """(role of a column, whether the name is known as it stands). ``prompt.system`` is a system
    text, ``answers.text`` an answer. Otherwise the last word decides: ``original_question``. ("",
    False) where nothing is known."""
    parts = [normal(part) for part in path.split(".")]
    known = _meanings("column")
    roles = [known.get(part, "") for part in parts]
    if "aside" in roles:
        return "aside", True
    if "answer" in roles[:-1] and roles[-1] in ("", "input", "text", "answer"):
        return "answer", True
    if "input" in roles[:-1] and roles[-1] == "text":  # ``context.sentences``
        return "input", True
    for part, role in zip(reversed(parts), reversed(roles)):
        if role and (part not in PLAIN or part == parts[0]):
            return role, True
    if roles[-1]:  # {"row": {"text": …}}: the outer name says nothing either
        return roles[-1], True
    for part in reversed(parts):
        last = part.rpartition("_")[2]
        if last != part and last in known and known[last] != "identifier":
            return known[last], False
    return "", False


@cache
def speaker(name: str) -> str:
    """The role of a speaker: of conversation.ROLES, or "" for a name such as Alice."""
    known = _meanings("speaker")
    whole = normal(name)
    return known.get(whole) or known.get(whole.partition("_")[0], "")


@cache
def written(name: str) -> str:
    """Who speaks after a mark in a text that names a part of a prompt (``Instruction``, ``Q``);
    "" for any other."""
    return _meanings("mark").get(normal(name), "")


@cache
def language(path: str) -> str:
    """The language that a column is named by (``en``, ``de_DE``, ``translation.fr``, ``French``),
    or ""."""
    name = normal(path.rpartition(".")[2])
    if name in words("language", "names"):
        return name
    code, _, region = name.partition("_")
    return code if code in words("language", "codes") and len(region) in (0, 2, 4) else ""


def stem(name: str) -> str:
    """``sentence_A`` and ``sentence_B`` have one stem, ``text1`` and ``text2`` too; "" where
    nothing is cut."""
    whole = normal(name)
    cut = _ORDINAL.sub("", whole)
    return cut if cut != whole else ""
