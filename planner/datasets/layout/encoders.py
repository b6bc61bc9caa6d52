"""What encoders of texts read beside a label: pairs and triplets to embed, a question with the
passage that answers it, and which task the columns alone tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.values import LANGUAGE
from planner.datasets.layout.column import (
    NUMBERS,
    OBJECTS,
    TEXT,
    TEXTS,
    TOKENS,
    Column,
    inner_name,
)
from planner.datasets.layout.shape import Shape

JUDGED = 100  # records whose lists are looked into
Record = Mapping[str, Any]
#: Where SQuAD and its kin say at which character an answer begins.
SPAN_STARTS = ("answer_start", "answer_starts", "answers_start")


def embedding_shape(columns: Sequence[Column], label: str | None, said: list[str]) -> Shape:
    """The first text is the anchor, the second its positive, all others hard negatives, as
    sentence-transformers reads columns by their order; by names where the three are known. One
    text alone is its own positive (SimCSE)."""
    paths = _in_order([c for c in columns if c.form in (TEXT, TEXTS, TOKENS) and c.path != label])
    if label is not None:
        said.append(f"{label!r} is not read: the other positives of a batch are the negatives")
    if len(paths) == 1:
        said.append("each text is its own positive, read twice with other dropout (SimCSE)")
        return Shape("retrieval", {"text": tuple(paths), "target": ()})
    anchor, positive, *negatives = paths
    roles: dict[str, tuple[str, ...]] = {"text": (anchor,), "target": (positive,)}
    if negatives:
        roles["negative"] = tuple(negatives)
    listed = [c.path for c in columns if c.form == TEXTS and c.path in negatives]
    if listed:
        number = int(constant("listed_negatives"))
        said.append(f"{number} of the list under {listed[0]!r} are read with each query")
    return Shape("retrieval", roles)


def _in_order(columns: Sequence[Column]) -> list[str]:
    """Columns by the names of a triplet or pair where those are known, the others behind."""
    paths = [c.path for c in columns]
    by_name = {inner_name(c.path): c.path for c in columns}
    for known in names.pairs("pair"):
        if all(name in by_name for name in known[:2]):
            first = [by_name[name] for name in known if name in by_name]
            return [*first, *(path for path in paths if path not in first)]
    return paths


def negatives_of(shape: Shape, columns: Mapping[str, Column]) -> int:
    """Hard negatives beside each query: one a column of texts, so many of a list."""
    listed = int(constant("listed_negatives"))
    return sum(listed if columns[p].form == TEXTS else 1 for p in shape.paths("negative"))


def span_shape(columns: Sequence[Column]) -> Shape | None:
    """A question and the passage that holds its answer; the answers are parts of the passage. None
    where two such texts are not told apart."""
    texts = [c for c in columns if c.form in (TEXT, TEXTS, TOKENS) and c.kind == LANGUAGE]
    asks = [c for c in texts if c.role == "prompt"]
    answers = {c.path for c in columns if c.role == "answer"}
    reads = [c for c in texts if c.role in ("input", "text") and c.path not in answers]
    if not asks or not reads:
        return None
    passage = max(reads, key=lambda c: c.size)
    return Shape("span", {"text": (asks[0].path, passage.path)}, copies=tuple(sorted(answers)))


def judged_pairs(sample: Sequence[Record]) -> tuple[str, str, tuple[str, ...]] | None:
    """(query, positive, negatives) of records that have both right and wrong passages by the names
    of a triplet, which a reranker reads as pairs; None where they have not."""
    keys = {inner_name(path): path for record in sample for path in record}
    for known in names.pairs("pair"):
        if len(known) == 3 and all(name in keys for name in known):
            query, positive, negative = (keys[name] for name in known)
            stem = inner_name(negative)
            more = (p for name, p in keys.items() if names.stem(p) == stem and p != negative)
            return query, positive, (negative, *more)
    return None


def as_pairs(record: Record, query: str, positive: str, negatives: Sequence[str]) -> list[dict]:
    """A record for each passage, with the label 1 for the right one."""
    beside = {k: v for k, v in record.items() if k not in (query, positive, *negatives)}
    passages = [(text, 1) for text in _each(record.get(positive))]
    passages += [(text, 0) for path in negatives for text in _each(record.get(path))]
    asked = record.get(query)
    return [{**beside, "query": asked, "passage": text, "label": label} for text, label in passages]


def _each(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, (list, tuple)) else (value,)


def told_task(columns: Mapping[str, Column], sample: Sequence[Record]) -> str | None:
    """The task that columns alone tell: where answers begin, tags as many as tokens, an anchor and
    its positive; None where they tell none."""
    inner = {inner_name(path) for path in columns}
    keys = {path.rpartition(".")[2] for path in columns}
    keys |= {key for r in sample[:JUDGED] for value in r.values() for key in _item_keys(value)}
    if {names.normal(key) for key in keys} & set(SPAN_STARTS):
        return "question_answering"
    if _tagged(columns, sample):
        return "token_classification"
    triples = [known for known in names.pairs("pair") if len(known) == 3]
    return "text_embedding" if any(set(t[:2]) <= inner for t in triples) else None


def _item_keys(value: Any) -> Sequence[str]:
    """Keys of the dictionaries in a list, such as SQuAD's ``answers``."""
    first = next(iter(value), None) if isinstance(value, (list, tuple)) else None
    return tuple(map(str, first)) if isinstance(first, dict) else ()


def _tagged(columns: Mapping[str, Column], sample: Sequence[Record]) -> bool:
    """A list of words beside a list of as many tags in every record."""
    words = [c.path for c in columns.values() if c.form == TOKENS and c.role == "token_list"]
    tags = [
        c.path
        for c in columns.values()
        if c.role == "label" and c.form in (NUMBERS, TEXTS, TOKENS, OBJECTS)
    ]
    return any(
        all(len(_each(r.get(word))) == len(_each(r.get(tag))) for r in sample)
        for word in words
        for tag in tags
    )
