"""The columns that a record fills get roles: by names where they are known, by order where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from planner.datasets.constants import constant
from planner.datasets.layout.cells import names
from planner.datasets.layout.cells.messages import turns_of
from planner.datasets.layout.cells.values import LANGUAGE
from planner.datasets.layout.column import (
    CHAT,
    NUMBERS,
    OBJECTS,
    TEXT,
    TEXT_ROLES,
    TEXTS,
    TOKENS,
    Column,
    alternatives,
    inner_name,
    is_listed,
    languages,
)
from planner.datasets.layout.copies import is_copy
from planner.datasets.layout.encoders import embedding_shape, span_shape
from planner.datasets.layout.shape import Shape
from planner.errors import FieldName

#: Tasks that read one text or a pair with a label.
LABELLED = ("text_classification", "token_classification", "contrastive", "reranking")
LEAST_OPTIONS = 3


@dataclass
class Assigner:
    """Finds the shape of records that fill given columns. ``sample``: the judged ones by columns
    that they fill, in which texts are compared. ``wanted``: columns that the user named."""

    columns: Mapping[str, Column]
    sample: Mapping[tuple[str, ...], Sequence[Mapping[str, Any]]]
    task: str | None
    label: str | None
    wanted: tuple[str, ...] = ()
    records: Sequence[Mapping[str, Any]] = ()
    _said: list[str] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        """Without the records: what travels to another process compares no columns."""
        return {**self.__dict__, "sample": {}, "records": ()}

    def shape(self, filled: tuple[str, ...]) -> Shape:
        """Of records that fill these columns of text."""
        self._said = []
        self.records = self.sample.get(filled, ())
        columns = [self.columns[path] for path in filled]
        if not columns:
            return Shape("none", label=self.label)
        if self.wanted and self.task == "seq2seq_lm" and len(columns) > 1:
            *sources, target = self.wanted
            found = Shape("transfer", {"source": tuple(sources), "target": (target,)})
        else:
            found = next(s for reader in self._readers() if (s := reader(columns)) is not None)
        found = self._with_rest(found, columns)
        return replace(found, label=self._label(found), said=tuple(self._said))

    def _label(self, shape: Shape) -> str | None:
        return self.label if self.label not in shape.counted else None

    def _readers(self) -> tuple[Callable[[list[Column]], Shape | None], ...]:
        """The first reading that fits, in the order that the task makes likely."""
        if self.task == "text_embedding":
            return self._ids, lambda c: embedding_shape(c, self.label, self._said)
        if self.task == "question_answering":
            return self._ids, span_shape, self._pair, self._labelled, self._text
        before, behind = (self._ids, self._transfer), (self._by_order, self._text)
        if self.task in LABELLED:
            talk = (self._conversation, self._text)
            return (self._ids, self._tokens, self._pair, self._labelled, *talk)
        if self.task == "seq2seq_lm":
            return (*before, self._conversation, self._pair, *behind)
        return (*before, self._triple, self._conversation, self._pair, *behind)

    def _ids(self, columns: list[Column]) -> Shape | None:
        ids = [c.path for c in columns if c.form == NUMBERS]
        if not ids:
            return None
        roles: dict[str, tuple[str, ...]] = {"text": (ids[0],)}
        labels = next((p for p in self.columns if names.normal(p) == "labels"), None)
        if labels and self.columns[labels].form == NUMBERS and self._differ(ids[0], labels):
            roles["target"] = (labels,)
        self._said.append("the data is tokenized already: its own tokens are counted")
        return Shape("ids", roles)

    def _differ(self, first: str, second: str) -> bool:
        """Lists of two columns have different lengths: labels of a decoder, not of each token."""
        return any(
            len(record[first]) != len(record[second])
            for record in self.records
            if isinstance(record.get(first), (list, tuple))
            and isinstance(record.get(second), (list, tuple))
        )

    def _tokens(self, columns: list[Column]) -> Shape | None:
        tokens = [c.path for c in columns if c.form == TOKENS]
        if not tokens or self.task != "token_classification":
            return None
        return Shape("text", {"text": tuple(tokens[:1])})

    def _labelled(self, columns: list[Column]) -> Shape | None:
        """What a classifier reads: every text, two as a pair."""
        if any(c.form == CHAT for c in columns):
            return None
        paths = self._distinct([c for c in columns if c.path != self.label])
        if not paths:
            return None
        kind = "pair" if len(paths) == 2 and not self._one_text(paths) else "text"
        return Shape(kind, {"text": tuple(paths)})

    def _one_text(self, paths: Sequence[str]) -> bool:
        """A title and its body are one text; a question and its passage are two."""
        return any(self.columns[path].role == "text" for path in paths) and not any(
            self.columns[path].role in ("prompt", "answer", "input") for path in paths
        )

    def _transfer(self, columns: list[Column]) -> Shape | None:
        """A source and its target: by names that go together, or named by two languages."""
        by_name = {inner_name(c.path): c.path for c in columns}
        asked = [
            c for c in columns if c.known and (c.role in ("prompt", "answer") or c.form == CHAT)
        ]
        if not asked:
            for source, target in names.pairs("transfer"):
                if source in by_name and target in by_name:
                    roles = {"source": (by_name[source],), "target": (by_name[target],)}
                    return Shape("transfer", roles)
        spoken = languages([c for c in columns if c.form == TEXT])
        if not spoken or asked:
            return None
        first, second = spoken[:2]
        self._said.append(f"translated from {first!r} to {second!r}")
        return Shape("transfer", {"source": (first,), "target": (second,)})

    def _conversation(self, columns: list[Column]) -> Shape | None:
        """Prompt and answer, messages, or a pair of answers."""
        by_role = self._by_role(columns)
        roles = {role: by_role[role] for role in ("system", "tools", "history") if role in by_role}
        chosen, rejected = by_role.get("chosen"), by_role.get("rejected")
        if not (chosen and rejected) and (two := alternatives(columns, frozenset(by_role))):
            chosen, rejected = two[:1], two[1:]
            self._said.append(
                f"{two[0]!r} and {two[1]!r} are taken as two answers to compare, the first as the "
                f"chosen one ({FieldName('text_columns')} changes that)"
            )
        chats = [path for path in by_role.get("conversation", ()) if self._is_chat(path)]
        prompts = self._without_copies(by_role.get("prompt", ()) + by_role.get("input", ()))
        if chosen and rejected:
            roles |= self._asked(prompts, chats, chosen, rejected)
            return Shape("preference", roles | {"chosen": chosen[:1], "rejected": rejected[:1]})
        if chats:
            return Shape("chat", roles | self._chat(chats, by_role))
        answers = by_role.get("answer", ())
        if not answers and not prompts:
            written = by_role.get("conversation", ())[:1]  # one text: USER: … ASSISTANT: …
            return Shape("chat", roles | {"conversation": written}) if written else None
        prompts, answers = self._completed(columns, prompts, answers, roles)
        if not prompts or not answers:
            return None
        if len(answers) > 1:
            shown = ", ".join(map(repr, answers))
            self._said.append(f"{shown} are counted together as the answer")
        roles |= {"prompt": prompts, "answer": answers}
        if "reasoning" in by_role:
            roles["reasoning"] = by_role["reasoning"]
        chat = any(self._is_chat(path) for path in (*prompts, *answers))
        return Shape("chat" if chat else "instruction", roles)

    def _is_chat(self, path: str) -> bool:
        return self.columns[path].form == CHAT

    def _asked(
        self,
        prompts: tuple[str, ...],
        chats: list[str],
        chosen: tuple[str, ...],
        rejected: tuple[str, ...],
    ) -> dict[str, tuple[str, ...]]:
        """What comes before both answers of a preference pair."""
        chats = [
            path
            for path in chats
            if path not in (*chosen, *rejected) and not is_copy(self.records, path, chosen)
        ]
        found = {"conversation": tuple(chats[:1]), "prompt": prompts}
        return {role: paths for role, paths in found.items() if paths}

    def _chat(
        self, chats: list[str], by_role: Mapping[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        """The messages, and the answer beside them where they end with a question."""
        main = max(chats, key=lambda path: self.columns[path].size)
        ends = [turns_of(r[main]) for r in self.records[:200] if r.get(main)]
        open_end = sum(turns[-1].role != "assistant" for turns in ends if turns)
        found: dict[str, tuple[str, ...]] = {"conversation": (main,)}
        if "answer" in by_role and 2 * open_end > len(ends):
            found["answer"] = by_role["answer"]
            if "reasoning" in by_role:
                found["reasoning"] = by_role["reasoning"]
        return found

    def _completed(
        self,
        columns: list[Column],
        prompts: tuple[str, ...],
        answers: tuple[str, ...],
        roles: Mapping[str, tuple[str, ...]],
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Where only prompts or only answers are named, a column without a role is the other."""
        taken = {*prompts, *answers, *(p for paths in roles.values() for p in paths)}
        free = [c.path for c in columns if c.path not in taken and self._is_free(c)]
        free = [path for path in free if not self._is_option(path, columns)]
        if prompts and not answers and free:
            self._say_taken(free[-1:], "the answer")
            return prompts, (free[-1],)
        if answers and not prompts and free:
            self._say_taken(free, "the prompt")
            return tuple(free), answers
        if not answers and len(prompts) > 1 and self._is_only_input(prompts):
            return (), ()
        return prompts, self._without_copies(answers)

    def _is_option(self, path: str, columns: Sequence[Column]) -> bool:
        """One of three or more that a number or a letter tells apart: the options of a question,
        none of which answers the others."""
        stem = names.stem(path)
        return bool(stem) and sum(names.stem(c.path) == stem for c in columns) >= LEAST_OPTIONS

    def _is_free(self, column: Column) -> bool:
        return column.kind == LANGUAGE and column.role not in ("reasoning", "text", "label")

    def _is_only_input(self, prompts: tuple[str, ...]) -> bool:
        return not any(self.columns[path].role == "prompt" for path in prompts)

    def _without_copies(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        kept: list[str] = []
        for path in sorted(paths, key=lambda p: -self.columns[p].size):
            if not kept or not is_copy(self.records, path, kept):
                kept.append(path)
        return tuple(path for path in paths if path in kept)

    def _triple(self, columns: list[Column]) -> Shape | None:
        """A query with a passage that answers it and one that does not: nothing is said."""
        by_name = {inner_name(c.path): c.path for c in columns}
        for names_of in names.pairs("pair"):
            if len(names_of) > 2 and all(name in by_name for name in names_of):
                return self._paired([by_name[name] for name in names_of])
        return None

    def _pair(self, columns: list[Column]) -> Shape | None:
        by_name = {inner_name(c.path): c.path for c in columns}
        for pair in names.pairs("pair"):
            if all(name in by_name for name in pair):
                return self._paired([by_name[name] for name in pair])
        for pair in names.pairs("pair"):
            if all(name in by_name for name in pair[:2]):
                return self._paired([by_name[name] for name in pair[:2]])
        stems: dict[str, list[str]] = {}
        for column in columns:
            if names.stem(column.path) and column.form in (TEXT, TEXTS):
                stems.setdefault(names.stem(column.path), []).append(column.path)
        same = next((paths for paths in stems.values() if len(paths) == 2), None)
        return self._paired(same) if same else None

    def _paired(self, paths: list[str]) -> Shape:
        if self.task == "seq2seq_lm":
            roles = {"source": tuple(paths[:-1]), "target": (paths[-1],)}
            return Shape("transfer", roles)
        return Shape("pair", {"text": tuple(paths)})

    def _by_order(self, columns: list[Column]) -> Shape | None:
        """Two or more texts of which no name is known: the last answers the others."""
        named = any(c.role in ("text", "prompt") and c.known for c in columns)
        if named and self.task != "seq2seq_lm":
            return None
        paths = self._distinct([c for c in columns if c.path != self.label])
        if len(paths) < 2:
            return None
        if self.task == "seq2seq_lm":
            return Shape("transfer", {"source": tuple(paths[:-1]), "target": (paths[-1],)})
        shown = ", ".join(map(repr, paths[:-1]))
        self._said.append(
            f"no column has a known name: {shown} {'are' if len(paths) > 2 else 'is'} taken as the "
            f"prompt and {paths[-1]!r} as the answer ({FieldName('text_columns')} changes that)"
        )
        return Shape("instruction", {"prompt": tuple(paths[:-1]), "answer": (paths[-1],)})

    def _text(self, columns: list[Column]) -> Shape | None:
        paths = self._distinct([c for c in columns if c.path != self.label] or columns)
        chats = [path for path in paths if self._is_chat(path)]
        self._said += [
            f"each list under {path!r} is taken as one text (as turns, where the column is called "
            "'dialogue')"
            for path in paths
            if path not in self.wanted and is_listed(self.columns[path])
        ]
        return (
            Shape("chat", {"conversation": tuple(chats[:1])})
            if chats
            else Shape("text", {"text": tuple(paths)})
        )

    def _distinct(self, columns: Sequence[Column]) -> list[str]:
        """Columns in order, without those that repeat another; of two the larger is kept."""
        kept = self._without_copies(
            tuple(c.path for c in columns if c.form != OBJECTS or c.path in self.wanted)
        )
        return list(kept)

    def _by_role(self, columns: Sequence[Column]) -> dict[str, tuple[str, ...]]:
        """Role → columns; a name that is known only by its last word stands back where another is
        known as it is."""
        found: dict[str, list[Column]] = {}
        asked = self._asked_pair(columns)
        for column in columns:
            role = asked.get(column.path) or self._role(column)
            if role:
                found.setdefault(role, []).append(column)
        return {
            role: tuple(c.path for c in group if c.known or not any(o.known for o in group))
            for role, group in found.items()
        }

    def _asked_pair(self, columns: Sequence[Column]) -> dict[str, str]:
        """Names that mean a question and its answer only side by side: ``q`` and ``a``."""
        by_name = {inner_name(c.path): c.path for c in columns}
        for first, second in names.pairs("asked"):
            if first in by_name and second in by_name:
                return {by_name[first]: "prompt", by_name[second]: "answer"}
        return {}

    def _role(self, column: Column) -> str:
        if column.form == CHAT and column.role not in (
            "system",
            "history",
            "prompt",
            "answer",
            "chosen",
            "rejected",
        ):
            return "conversation"
        if column.role == "label" and column.kind == LANGUAGE:
            return "answer" if names.normal(column.path) == "target" else ""
        return column.role if column.role in TEXT_ROLES else ""

    def _with_rest(self, shape: Shape, columns: Sequence[Column]) -> Shape:
        """The columns that no role took: copies count once, language counts with the prompt; what
        stands beside messages is left out, as trainers leave it."""
        taken = {path for paths in shape.roles.values() for path in paths}
        free = [c for c in columns if c.path not in taken and c.path != self.label]
        free = [c for c in free if c.path not in shape.copies]
        copies = [c.path for c in free if is_copy(self.records, c.path, tuple(taken))]
        rest = [c.path for c in free if c.path not in copies and c.form in (TEXT, TEXTS, TOKENS)]
        shape = replace(shape, copies=(*shape.copies, *copies))
        if not rest or shape.record_type in ("chat", "preference", "ids", "span", "retrieval"):
            return shape
        role = next(r for r in ("prompt", "source", "text") if r in shape.roles)
        if role != "text":
            self._say_taken(rest, "a part of the prompt")
        roles = {**shape.roles, role: (*shape.roles[role], *rest)}
        return replace(shape, roles=roles)

    def _say_taken(self, paths: Sequence[str], meaning: str) -> None:
        """Of columns that hold more than a small share of the text."""
        whole = sum(column.size for column in self.columns.values())
        sizes = sum(self.columns[path].size for path in paths)
        if sizes < constant("small_share") * whole:
            return
        shown = ", ".join(map(repr, paths))
        has = "have no known names and are" if len(paths) > 1 else "has no known name and is"
        self._said.append(
            f"{shown} {has} taken as {meaning} ({FieldName('text_columns')} changes that)"
        )
