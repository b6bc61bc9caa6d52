"""What is said of the template by which records were rendered."""

from __future__ import annotations

from collections.abc import Iterator

from planner.datasets.constants import constant
from planner.datasets.templates.chat_template import ChatTemplate
from planner.datasets.templates.families import INSTRUCTIONS
from planner.datasets.templates.lengths import RenderedLengths
from planner.errors import FieldName
from planner.first_lines import FirstLine

PLAIN_WORDS = {
    True: "instructions stand in Alpaca's prompt",
    False: "prompt and answer stand one after the other",
}
#: Names of environment.FORMS, which needs jinja.
MERGED_SYSTEM, TWO_ROLES = "system", "two_roles"
#: From this share of the records on, what happened to them is said.
FEW = 0.005


def first_lines(template: ChatTemplate, found: RenderedLengths, model: str) -> Iterator[FirstLine]:
    """The template where it is assumed, and what it refuses. ``model``: its name, "" for none."""
    if template.note:
        yield FirstLine(
            "data",
            f"the model's own chat template cannot be rendered ({template.note}); "
            f"{template.name}'s is taken",
            warning=True,
        )
    elif template.plain:
        yield FirstLine(
            "data",
            f"the model has no chat template: {PLAIN_WORDS[template.name == INSTRUCTIONS]}, with "
            "an end-of-sequence token, as trainers do for base models",
        )
    elif template.assumed:
        yield FirstLine(
            "data",
            f"the chat template of {template.name} is assumed, {_added(found)}: "
            + ("the model's own is not at hand" if model else "no model is named"),
        )
    if not found.trained_share:
        yield FirstLine(
            "data",
            "no record has an answer of an assistant: the loss is taken on nothing",
            warning=True,
        )
    yield from _refusals(template, found)
    yield from _unread(template, found)


def _refusals(template: ChatTemplate, found: RenderedLengths) -> Iterator[FirstLine]:
    system, roles = found.forms.get(MERGED_SYSTEM, 0.0), found.forms.get(TWO_ROLES, 0.0)
    if system > FEW:
        yield FirstLine(
            "data",
            f"the chat template of {template.name} refuses a system role: in {system:.0%} of the "
            "records it stands before the first question, as trainers put it",
        )
    if roles > FEW:
        yield FirstLine(
            "data",
            f"the chat template of {template.name} refuses roles in {roles:.0%} of the records: "
            "they are merged into questions and answers",
        )
    if (refused := found.forms.get(None, 0.0)) > FEW:
        yield FirstLine(
            "data",
            f"the chat template of {template.name} takes {refused:.0%} of the records in no form: "
            "their texts are counted without it",
            warning=True,
        )


def _unread(template: ChatTemplate, found: RenderedLengths) -> Iterator[FirstLine]:
    """What the template does not read, leaves out, or shows as a picture."""
    for part, share in found.moved.items():
        where = "the system text" if part == "tools" else "the answers"
        yield FirstLine(
            "data",
            f"the chat template of {template.name} reads no {part}: in {share:.0%} of the records "
            f"they are counted as a part of {where}"
            + (", save where it leaves those out" if part in found.lost else ""),
        )
    for part, share in found.lost.items():
        if share > constant("small_share"):
            what = part if part in ("thoughts", "tools") else f"texts of the role {part!r}"
            yield FirstLine(
                "left_out",
                f"the chat template of {template.name} leaves out {what}, {share:.0%} of the text",
                warning=share > constant("large_share"),
            )
    if found.pictures:
        yield FirstLine(
            "left_out",
            f"{found.pictures:.2g} picture{'s' if found.pictures > 1 else ''} a record: their "
            f"tokens are the model's to know and are not counted ({FieldName('samples')} and "
            f"{FieldName('tokens_per_sample')} give those of text and pictures together)",
            warning=True,
        )


def assumptions(template: ChatTemplate, found: RenderedLengths) -> Iterator[str]:
    """What was rendered by what."""
    if not template.assumed:
        yield (
            f"records are rendered by the model's own chat template ({template.source}), "
            f"{_added(found)}"
        )
    elif not template.plain:
        yield f"the chat template of {template.name}: {template.source}"
    if found.rendered < len(found.tokens):
        yield (
            f"{found.rendered:,} of {len(found.tokens):,} records were rendered; the length of the "
            f"others follows from their parts (±{found.relative_error:.2%})"
        )


def _added(found: RenderedLengths) -> str:
    if found.overhead < 0:
        return f"which leaves out {-found.overhead:,.0f} tokens a record"
    return f"which adds {found.overhead:,.0f} tokens a record"
