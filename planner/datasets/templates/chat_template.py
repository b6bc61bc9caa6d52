"""ChatTemplate: how a model's conversations are written down, and where that is known from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ChatTemplate:
    """``text``: jinja. ``variables``: what it may name, such as ``bos_token``. ``special``: the
    tokens of texts that are not counted by their size, mostly 1. ``source``: the file it came
    from, or the page that describes the family's. ``assumed``: it is the family's, and not known
    to be the model's. ``own``: it came with the model, written by strangers: rendered in a process
    of its own. ``plain``: no roles are marked, as base models without a template are trained.
    ``note``: what was wrong with the model's own, when this one stands in for it."""

    name: str
    text: str
    variables: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    assumed: bool = False
    own: bool = False
    plain: bool = False
    note: str = ""
