"""Names of modules and of the owners of weights, by ids."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class Names:
    """Names by ids: of modules, and of the modules that own parameters and buffers."""

    modules: dict[int, str] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)

    def add(self, module: torch.nn.Module, prefix: str) -> None:
        for name, part in module.named_modules():
            self.modules[id(part)] = (prefix + name).rstrip(".")
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            owner = (prefix + name).rpartition(".")[0]
            self.owners.setdefault(id(tensor), owner)
