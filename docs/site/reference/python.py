"""The public names of ``planner`` with their signatures and docstrings."""

from __future__ import annotations

import inspect
from typing import Any

from reference.markdown import page, rst


def made() -> str:
    import planner
    from planner.api.decision import Way
    from planner.api.option import Option

    names = [name for name in planner.__all__ if not name.startswith("__")]
    shown = [(name, getattr(planner, name)) for name in names] + [("Option", Option), ("Way", Way)]
    functions = [_function(name, one) for name, one in shown if inspect.isfunction(one)]
    classes = [_class(name, one) for name, one in shown if inspect.isclass(one)]
    return page(
        "Python",
        "`from planner import …`. Every document is the dictionary that `--json` prints, with its "
        "figures by name besides.",
        *functions,
        *classes,
    )


def _function(name: str, function: Any) -> str:
    return f"## {name}\n\n```python\n{name}{_signature(function)}\n```\n\n{_doc(function)}"


def _class(name: str, one: type) -> str:
    parts = [f"## {name}\n\n{_doc(one)}"]
    for key in dict.fromkeys(_members(one)):
        member = inspect.getattr_static(one, key)
        function = getattr(member, "func", getattr(member, "fget", member))
        called = key if function is not member else f"{key}{_signature(function)}"
        parts.append(f"### {name}.{key}\n\n```python\n{called}\n```\n\n{_doc(function)}")
    return "\n\n".join(parts)


def _members(one: type) -> list[str]:
    """Properties and methods that planner itself documents, its bases' too."""
    if not one.__module__.startswith("planner.api"):
        return []
    return [
        key
        for base in one.__mro__
        if base.__module__.startswith("planner.api")
        for key, member in vars(base).items()
        if not key.startswith("_") and (inspect.isfunction(member) or _is_property(member))
    ]


def _is_property(member: Any) -> bool:
    return isinstance(member, property) or type(member).__name__ == "cached_property"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    words = [_parameter(one) for one in parameters]
    named = next((i for i, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY), None)
    if named is not None:
        words.insert(named, "*")
    lines = ",\n    ".join(words)
    inside = f"\n    {lines},\n" if len(words) > 2 else ", ".join(words)
    back = signature.return_annotation
    return f"({inside})" + ("" if back is inspect.Signature.empty else f" -> {back}")


def _parameter(one: inspect.Parameter) -> str:
    """Annotations as they are written: texts, as every file has them."""
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    typed = "" if one.annotation is one.empty else f": {one.annotation}"
    default = "" if one.default is one.empty else f" = {one.default!r}"
    return f"{stars}{one.name}{typed}{default}"


def _doc(one: Any) -> str:
    """The docstring; its examples as code."""
    text = rst(inspect.getdoc(one) or "")
    out, inside = [], False
    for line in text.splitlines():
        example = line.startswith((">>> ", "... ")) or inside and bool(line.strip())
        if example and not inside:
            out += ["```python"]
        if inside and not example:
            out += ["```"]
        inside = example
        out.append(line)
    return "\n".join([*out, "```"] if inside else out)
