"""One recorded step before it is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RawTrace:
    """One recorded step, with concrete integers. Operations are (signature index, phase, module); a
    signature is (name, inputs, outputs, attrs) of operands (shape, dtype, layout, expanded, count);
    a storage is [shape, itemsize, birth, death, category, module]."""

    signatures: list = field(default_factory=list)
    operations: list[tuple[int, int, int]] = field(default_factory=list)
    storages: list[list] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    #: How often each module was called, by its name.
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def module_calls(self) -> int:
        return sum(self.calls.values())
