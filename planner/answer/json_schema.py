"""The contracts as JSON Schema, as ``profiles/schema`` ships them."""

from __future__ import annotations

from typing import Any

from planner.answer.schema import Answer


def answer_schema() -> dict[str, Any]:
    """The JSON Schema of the document, as shipped in ``profiles/schema/answer.schema.json``."""
    return published(Answer.model_json_schema(by_alias=True))


def question_schema() -> dict[str, Any]:
    """The JSON Schema of ``project.yaml``, as ``profiles/schema/question.schema.json``."""
    from planner.question import Question

    return published(Question.model_json_schema())


def published(schema: dict[str, Any]) -> dict[str, Any]:
    """With its dialect, and descriptions on one line: they come from wrapped docstrings."""
    return _unwrapped(schema) | {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def _unwrapped(node: Any) -> Any:
    if isinstance(node, list):
        return [_unwrapped(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: " ".join(value.split())
        if key == "description" and isinstance(value, str)
        else _unwrapped(value)
        for key, value in node.items()
    }
