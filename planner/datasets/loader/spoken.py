"""Rows of conversations as their model's chat template renders them, before they are tokenized."""

from __future__ import annotations

from dataclasses import replace

from planner.datasets.counting import is_rendered, parts_of, template_of
from planner.datasets.layout.conversations import conversation_of
from planner.datasets.loader.sources import Texts
from planner.datasets.templates.choosing import ModelText, stand_in
from planner.datasets.templates.rendering import render
from planner.errors import DataError


def as_trained(source: Texts, model: ModelText, task: str | None) -> Texts:
    """The same rows, rendered; the source itself where no row is a conversation that ``task``
    renders. Raises DataError for a template that cannot be rendered."""
    layout = source.layout
    records = [source.record(index) for index in range(len(source))]
    spoken = [is_rendered(layout.shape_of(record), task) for record in records]
    if not any(spoken):
        return source
    talks = [conversation_of(record, layout) for record, is_one in zip(records, spoken) if is_one]
    template = template_of(talks, layout, model)
    try:
        made = render(template, talks)
    except DataError as error:
        if not template.own:
            raise
        made = render(stand_in(model, template, error.what), talks)
    texts = iter(made)
    return replace(
        source,
        spoken=tuple(
            next(texts).text if is_one else "\n".join(parts_of(record, layout))
            for record, is_one in zip(records, spoken)
        ),
    )
