"""Versions of the libraries whose code a trace records, without importing them."""

from __future__ import annotations

from functools import cache
from importlib import metadata

#: Libraries whose code a trace records.
RECORDED = {
    "transformers": ("torch", "transformers", "peft"),
    "timm": ("torch", "timm", "peft"),
    "torchvision": ("torch", "torchvision", "peft"),
    "ultralytics": ("torch", "ultralytics", "torchvision", "peft"),
    "diffusers": ("torch", "diffusers", "transformers", "peft"),
    "factory": ("torch", "peft"),
}


@cache
def versions(library: str) -> dict[str, str]:
    """Installed versions of the libraries that a trace of this one records, without importing
    them."""
    found = {}
    for name in RECORDED[library]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
