"""What PEFT can make of an adapter: rows of ``profiles/adapters.csv``. No torch here; how each is
applied stands in ``training/methods``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner import tables

#: The method that a recipe does not name.
LORA, LORA_TYPE = "lora", "LORA"
#: A rank, a block or a number of tokens beyond which no adapter is meant.
LARGEST = 65536
#: Fields of a question that say how large an adapter is, each of some methods.
SIZES = ("lora_rank", "adapter_block_size", "virtual_tokens")
#: Arguments of PEFT's classes that make another adapter than is planned.
OTHERWISE = {"prefix_projection": True, "encoder_reparameterization_type": "LSTM"}
#: Fields of a question that are of adapters on layers, and not of every method.
OPTIONS = (
    "lora_alpha",
    "lora_targets",
    "lora_exclude",
    "lora_layers",
    "lora_layers_pattern",
    "lora_modules_to_save",
    "lora_rank_pattern",
    "lora_dropout",
    "adapter_precision",
)


@dataclass(frozen=True)
class Method:
    """One method. ``config``: PEFT's class of its configuration; ``fixed``: arguments of it;
    ``size``: the question's field that says how large an adapter is, ``argument`` what PEFT calls
    it, ``default`` (ranks, numbers of a block, tokens) where it is not asked, None for LoRA's.
    ``options``: further fields that it takes. ``targets``: linear | peft | none. ``quantised``:
    any | bitsandbytes | "", the frozen weights in few bits that it stands over. ``says``: what an
    answer says of it. ``source``: of the default."""

    name: str
    words: str
    peft_type: str
    config: str
    fixed: tuple[tuple[str, str], ...]
    size: str | None
    argument: str | None
    default: int | None
    options: tuple[str, ...]
    dropout: str | None
    targets: str
    quantised: str
    has_virtual_tokens: bool
    knows_task: bool
    checkpoints: bool
    compiles: bool
    traced_as: str
    trains: str
    says: str
    is_warning: bool
    paper: str
    source: str

    def takes(self, field: str) -> bool:
        """Whether a field of adapters says something of it."""
        if field in SIZES:
            return field == self.size
        return field in self.options or field == "lora_targets" and self.targets != "none"


@cache
def methods() -> dict[str, Method]:
    """Every method by its name, in the table's order. Raises ProfileError."""
    return {row["adapter"]: _method(row) for row in tables.rows("adapters.csv")}


def method_of(name: str | None) -> Method:
    """By a recipe's or a question's name; None is LoRA."""
    return methods()[name or LORA]


def names() -> tuple[str, ...]:
    """What a question may say."""
    return tuple(methods())


def taking(field: str) -> tuple[str, ...]:
    """Names of the methods that a field of adapters is of."""
    return tuple(name for name, method in methods().items() if method.takes(field))


def settings_of(get: Callable[[str], Any]) -> dict[str, Any] | None:
    """The method that a configuration of PEFT's is of, and its size, by a record's names; None for
    one that is not planned. ``get``: the value of one of its arguments."""
    method = _configured(get)
    if method is None:
        return None
    made = {} if method.name == LORA else {"adapter": method.name}
    if method.size is None or method.argument is None:
        return made
    size = get(method.argument)
    whole = isinstance(size, int) and not isinstance(size, bool) and 0 < size <= LARGEST
    if not whole and method.peft_type != LORA_TYPE:
        return None  # OFT's size may be a number of blocks instead
    return made | ({method.size: size} if whole else {})


def _configured(get: Callable[[str], Any]) -> Method | None:
    """Of methods with one class the one whose arguments it has."""
    kind = str(get("peft_type") or "").rpartition(".")[2].upper()
    named = [method for method in methods().values() if method.peft_type == kind]
    if any(get(name) == value for name, value in OTHERWISE.items()):
        return None
    own = [m for m in named if len(named) > 1 and m.fixed and _holds(m, get)]
    return (own or named or [None])[0]


def _holds(method: Method, get: Callable[[str], Any]) -> bool:
    """``pissa_niter_4`` is a ``pissa``."""
    return all(str(get(name)).lower().startswith(value) for name, value in method.fixed)


def title_of(strategy: str, method: str | None) -> str:
    """What people call adapters of a method: over weights as they are (``lora``), or over those
    that are loaded in 4 bits (``qlora``)."""
    words = method_of(method).words
    if strategy == LORA:
        return words
    return "QLoRA" if method in (None, LORA) else f"{words} over 4-bit weights"


def _method(row: dict[str, str]) -> Method:
    return Method(
        name=row["adapter"],
        words=row["words"],
        peft_type=row["peft_type"],
        config=row["config"],
        fixed=tuple(_pair(text) for text in row["fixed"].split()),
        size=row["size"] or None,
        argument=row["argument"] or None,
        default=int(row["default"]) if row["default"] else None,
        options=tuple(row["options"].split()),
        dropout=row["dropout"] or None,
        targets=row["targets"],
        quantised=row["quantised"],
        has_virtual_tokens=row["virtual_tokens"] == "yes",
        knows_task=row["task_types"] == "yes",
        checkpoints=row["checkpointing"] == "yes",
        compiles=row["compiles"] == "yes",
        traced_as=row["traced_as"] or row["adapter"],
        trains=row["trains"],
        says=row["says"],
        is_warning=row["warning"] == "yes",
        paper=row["paper"],
        source=row["source"],
    )


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
