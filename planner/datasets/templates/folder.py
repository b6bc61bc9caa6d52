"""The chat template and the special tokens that lie in a model's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planner.datasets.templates.chat_template import ChatTemplate
from planner.files import loads

#: No tokenizer's settings are as large: what is larger is not read.
LARGEST_BYTES = 64 * 2**20
TOKEN_NAMES = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)


def own_template(folder: Path, tools: bool) -> ChatTemplate | None:
    """The model's own template, None where its folder has none. A template of several names: the
    one for tools where the data has ``tools`` and there is one, else the default."""
    settings = _read(folder / "tokenizer_config.json")
    found = _text(folder, settings, tools)
    if found is None:
        return None
    text, file = found
    return ChatTemplate(
        name=f"{folder.name}/{file}",
        text=text,
        variables=_named_tokens(settings),
        special=dict.fromkeys(_special_tokens(settings), 1),
        source=str(folder / file),
        own=True,
    )


def has_tokenizer(folder: Path) -> bool:
    """The model's tokenizer lies here: what its settings do not say, it does not have."""
    return (folder / "tokenizer_config.json").is_file()


def end_token(folder: Path) -> str | None:
    """The text that ends a sample of the model in ``folder``."""
    return _named_tokens(_read(folder / "tokenizer_config.json")).get("eos_token")


def begin_token(folder: Path) -> str | None:
    """The text that begins a sample, where the tokenizer adds one."""
    settings = _read(folder / "tokenizer_config.json")
    return _named_tokens(settings).get("bos_token") if settings.get("add_bos_token") else None


def _text(folder: Path, settings: dict[str, Any], tools: bool) -> tuple[str, str] | None:
    """(template, file) in transformers' order: a file of its own goes before the settings."""
    alone = folder / "chat_template.jinja"
    if alone.is_file():
        text = _read_text(alone)
        if tools and (extra := folder / "additional_chat_templates" / "tool_use.jinja").is_file():
            return _read_text(extra), f"{extra.parent.name}/{extra.name}"
        return (text, alone.name) if text else None
    for file, content in (
        ("chat_template.json", _read(folder / "chat_template.json")),
        ("tokenizer_config.json", settings),
    ):
        text = _chosen(content.get("chat_template"), tools)
        if text:
            return text, file
    return None


def _chosen(value: Any, tools: bool) -> str | None:
    """One template, or a list of {"name", "template"}."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        named = {
            item["name"]: item["template"]
            for item in value
            if isinstance(item, dict) and {"name", "template"} <= item.keys()
        }
    else:
        named = value if isinstance(value, dict) else {}
    wanted = ("tool_use", "default") if tools else ("default",)
    return next((text for n in wanted if isinstance(text := named.get(n), str)), None)


def _named_tokens(settings: dict[str, Any]) -> dict[str, str]:
    return {
        name: text for name in TOKEN_NAMES if (text := _token_text(settings.get(name))) is not None
    }


def _special_tokens(settings: dict[str, Any]) -> Iterator[str]:
    added = settings.get("added_tokens_decoder")
    if isinstance(added, dict):
        yield from filter(None, map(_token_text, added.values()))
    yield from _named_tokens(settings).values()
    more = settings.get("additional_special_tokens")
    if isinstance(more, list):
        yield from filter(None, map(_token_text, more))


def _token_text(value: Any) -> str | None:
    """A token is a string or {"content": …}."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _read(file: Path) -> dict[str, Any]:
    """The settings of a file; empty where there is none that can be read."""
    try:
        value = loads(_read_text(file) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8") if file.stat().st_size <= LARGEST_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""
