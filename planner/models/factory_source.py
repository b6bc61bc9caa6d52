"""The module of a factory of one's own, found and read without importing it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import sys

from planner.errors import ModelError


def source_fingerprint(name: str) -> str:
    """sha256 hex of the factory's name and its module's source. Raises ModelError when there is no
    such module."""
    return hashlib.sha256(name.encode() + b"\0" + _source(name)).hexdigest()


def parameters_of(name: str) -> frozenset[str]:
    """The names of the parameters of a factory that is a function of its module, or a class with an
    ``__init__`` there; none for what is made otherwise. Raises ModelError as above."""
    try:
        body = ast.parse(_source(name)).body
    except SyntaxError:
        return frozenset()
    found = [node for node in body if getattr(node, "name", "") == name.partition(":")[2]]
    if found and isinstance(found[-1], ast.ClassDef):
        found = [node for node in found[-1].body if getattr(node, "name", "") == "__init__"]
    if not found or not isinstance(found[-1], ast.FunctionDef):
        return frozenset()
    takes = found[-1].args
    return frozenset(each.arg for each in (*takes.args, *takes.kwonlyargs))


def _source(name: str) -> bytes:
    module_name = name.partition(":")[0]
    make_importable()
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError, AttributeError) as error:
        raise ModelError(
            f"no module {module_name!r}: {error}",
            where=name,
            mend="Run from its folder, or install it",
        ) from error
    if spec is None or not spec.origin or not os.path.isfile(spec.origin):
        raise ModelError(
            f"no module {module_name!r}",
            where=name,
            mend="Run from the folder that holds it, or install it",
        )
    with open(spec.origin, "rb") as handle:
        return handle.read()


def has_module(name: str) -> bool:
    """Whether a module of that name could be imported from here."""
    make_importable()
    return importlib.util.find_spec(name) is not None


def make_importable() -> None:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
