"""Modules that libraries import for names which they rarely call, left until somebody calls one.

A second of processor time goes into torch._dynamo and scipy.optimize because some library says
``from torch._dynamo.utils import is_compile_supported`` at its top, or because an optimizer asks
the compiler to leave it alone. While ``deferred`` holds, such an import gets a stand-in, whose
names load the real module when they are used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

#: torch's compiler, which no step that is recorded goes through.
COMPILER = ("torch._dynamo", "torch._inductor")
#: What libraries import for few of their models: tensors that are spread over devices, sizes that
#: are symbols, models of torchvision.
RARELY_CALLED = (
    *COMPILER,
    "scipy.optimize",
    "torch.distributed.tensor",
    "torch.distributed.fsdp",
    "torch.distributed._composable",
    "torch.distributed.checkpoint",
    "torch.distributed._functional_collectives",
    "torch.fx.experimental.symbolic_shapes",
    "torch.utils._sympy",
    "sympy",
    "torchvision.datasets",
    "torchvision.models",
)
#: Decorators that tell the compiler how to take a function: without a compiler, the function.
DECORATORS = tuple(
    f"torch._dynamo.{name}" for name in ("disable", "assume_constant_result", "allow_in_graph")
)
#: What only ends a graph that the compiler makes.
WITHOUT_EFFECT = ("torch._dynamo.graph_break",)
#: Calls at a module's top that make a mere value: made once something asks the value for anything.
VALUES = tuple(f"torch.distributed.tensor.{name}" for name in ("Shard", "Replicate", "Partial"))
#: What every check of an operator's arguments asks of sizes: the answers where none is a symbol.
SYMBOLS = "torch.fx.experimental.symbolic_shapes"
PLAIN: dict[str, Callable[..., Any]] = {
    f"{SYMBOLS}.{name}": answer
    for names, answer in (
        ("expect_true guard_bool guard_or_false guard_or_true guard_int", lambda it: it),
        ("guard_size_oblivious statically_known_true guarding_hint_or_throw", lambda it: it),
        ("is_nested_int", lambda _it: False),
        ("sym_eq", lambda one, other: one == other),  # of shapes: two tuples
        ("free_unbacked_symbols", lambda _it: set()),
        ("sym_and", lambda *every: all(every)),
        ("sym_or", lambda *every: any(every)),
    )
    for name in names.split()
} | {"torch.utils._sympy.functions.Max": max}
#: Modules of them that load without the rest: gradient checkpointing asks for a setting.
LIGHT = ("torch._dynamo.config",)


@contextmanager
def deferred(*packages: str) -> Iterator[None]:
    """While it holds, those of ``packages`` that are not loaded are imported as stand-ins. They
    leave ``sys.modules`` at its end; the names that were taken from them stay."""
    finder = _Finder([name for name in packages if not _loaded(name)])
    sys.meta_path.insert(0, finder)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # pyright: ignore[reportArgumentType]
        if not any(isinstance(each, _Finder) for each in sys.meta_path):
            _lift()


def loaded(name: str) -> ModuleType:
    """The module itself, whatever defers it."""
    _lift(name)
    return importlib.import_module(name)


class DeferredName:
    """A name of a module that is not loaded yet. Calling it, deriving from it or asking it for
    anything loads the module; nothing is an instance of it before."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name
        self._plain = PLAIN.get(f"{module}.{name}")

    def _real(self) -> Any:
        _lift(self._module)
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plain = self._plain
        if plain and not kwargs and all(map(_is_plain, args)):
            return plain(*args)
        full_name = f"{self._module}.{self._name}"
        if full_name in WITHOUT_EFFECT and not _loaded(self._module):
            return None
        if full_name in VALUES and not _loaded(self._module):
            return _DeferredValue(self, args, kwargs)
        if full_name not in DECORATORS:
            return self._real()(*args, **kwargs)
        function, *rest = args
        if isinstance(function, type):  # others derive from it and name it in annotations
            return self._real()(*args, **kwargs)
        if function is None:  # a decorator with arguments
            return lambda each: _decorated_once_loaded(self, each, rest, kwargs)
        return _decorated_once_loaded(self, function, rest, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return _loaded(self._module) and isinstance(instance, self._real())

    def __mro_entries__(self, _bases: tuple) -> tuple:
        return (self._real(),)

    def __or__(self, _other: Any) -> Any:  # in an annotation
        return Any

    __ror__ = __or__


def _is_plain(value: object) -> bool:
    """A number, a shape or a tensor without symbols."""
    kind = type(value)
    if kind is tuple:
        return all(map(_is_plain, value))  # pyright: ignore[reportArgumentType]
    return (
        kind is bool
        or kind is int
        or all(type(size) is int for size in getattr(value, "shape", (None,)))
    )


class _DeferredValue:
    """What a call of a deferred name gives, made when it is asked for anything."""

    def __init__(self, called: DeferredName, args: tuple, kwargs: dict[str, Any]) -> None:
        self._made = functools.cache(lambda: called._real()(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._made(), name)


def _decorated_once_loaded(
    decorator: DeferredName, function: Callable, args: Sequence, kwargs: dict[str, Any]
) -> Callable:
    """``function`` until the decorator's module is loaded, and decorated from then on."""
    found: list[Callable] = []

    @functools.wraps(function)
    def inner(*values: Any, **named: Any) -> Any:
        if not found and not _loaded(decorator._module):
            return function(*values, **named)
        if not found:
            found.append(decorator._real()(function, *args, **kwargs))
        return found[0](*values, **named)

    return inner


class _StandIn(ModuleType):
    """What is imported in a module's place."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in LIGHT:
            return importlib.import_module(f"{self.__name__}.{name}")
        found = DeferredName(self.__name__, name)
        setattr(self, name, found)
        return found


class _Finder:
    """Finds stand-ins for ``packages`` and all that is below them."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name in LIGHT or not any(_within(name, each) for each in self.packages):
            return None
        spec = importlib.machinery.ModuleSpec(name, self, is_package=True)  # pyright: ignore
        # where its light modules are found
        spec.submodule_search_locations = [
            f"{each}/{name.rpartition('.')[2]}" for each in (path or ())
        ]
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs: the names come when they are asked for."""


def _loaded(name: str) -> bool:
    return not isinstance(sys.modules.get(name), _StandIn | None)


def _lift(module: str | None = None) -> None:
    """Take the stand-ins of the package that holds ``module``, and what was loaded below them, out
    of the way of the real modules; of every package without one."""
    gone: list[str] = []
    for finder in [each for each in sys.meta_path if isinstance(each, _Finder)]:
        of = [each for each in finder.packages if module is None or _within(module, each)]
        finder.packages = [each for each in finder.packages if each not in of]
        gone += of
    names = [name for name, held in sys.modules.items() if isinstance(held, _StandIn)]
    stand_ins = [n for n in names if module is None or any(_within(n, each) for each in gone)]
    for name in [*(n for n in LIGHT if n.rpartition(".")[0] in stand_ins), *stand_ins]:
        if name in sys.modules:
            _remove(name, sys.modules[name])


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _remove(name: str, module: ModuleType) -> None:
    """A stand-in stays an attribute of a package that does not load its parts when they are asked
    for: who imported the package may take them from there."""
    del sys.modules[name]
    parent, _, child = name.rpartition(".")
    holder = sys.modules.get(parent)
    loads_parts = holder is not None and "__getattr__" in vars(holder)
    if loads_parts and vars(holder).get(child) is module:
        delattr(holder, child)
