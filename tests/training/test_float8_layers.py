"""Layers that multiply in 8-bit floats, against torchao's own and against torch.compile itself."""

from __future__ import annotations

import importlib.util
import logging

import pytest

if not importlib.util.find_spec("transformers"):
    pytest.skip("needs transformers", allow_module_level=True)

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from planner.libraries import import_library
from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.compiled.regions import Regions
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder
from planner.training.float8 import RECIPES, Float8Linear, pays

HAS_TORCHAO = importlib.util.find_spec("torchao") is not None
with_torchao = pytest.mark.skipif(not HAS_TORCHAO, reason="needs torchao")
WIDTH = 64
#: Nothing runs in them: they say where a tensor's elements are.
VIEWS = frozenset("view _unsafe_view t transpose permute expand slice alias detach reshape".split())
#: What a subclass of tensors calls, and what that is made of.
SAME = {"contiguous": "clone", "to": "_to_copy", "scaled_mm": "_scaled_mm"}


class Log(TorchDispatchMode):
    """Every operation with the types, shapes and strides of what it reads and writes; those of
    torchao's wrapped tensors as what they are made of."""

    def __init__(self):
        super().__init__()
        self.ops: list[tuple] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(kind.__name__ == "Float8TrainingTensor" for kind in types):
            return NotImplemented
        made = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if name not in VIEWS and isinstance(made, torch.Tensor):
            read = tuple(_said(a) for a in args if isinstance(a, torch.Tensor))
            self.ops.append((SAME.get(name, name), read, _said(made)))
        return made


def _said(tensor: torch.Tensor) -> tuple:
    return tuple(tensor.shape), tensor.dtype, tensor.stride()


class Gated(nn.Module):
    """A decoder's second half."""

    def __init__(self):
        super().__init__()
        self.norm = nn.Parameter(torch.ones(WIDTH))
        self.gate, self.up = (nn.Linear(WIDTH, 3 * WIDTH, bias=False) for _ in range(2))
        self.down = nn.Linear(3 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        wide = x.float()
        y = (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * self.norm
        return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))


def ours(module: nn.Module, recipe: str, skipped: tuple[str, ...] = ()) -> nn.Module:
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear) and name not in skipped:
            parent, _, own = name.rpartition(".")
            made = Float8Linear(layer, RECIPES[recipe], None)
            setattr(module.get_submodule(parent), own, made)
    return module


def theirs(module: nn.Module, recipe: str, skipped: tuple[str, ...] = ()) -> nn.Module:
    logging.disable(logging.WARNING)
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    finally:
        logging.disable(logging.NOTSET)
    config = Float8LinearConfig.from_recipe_name(recipe)
    chosen = lambda _, name: name not in skipped  # noqa: E731
    return convert_to_float8_training(module, config=config, module_filter_fn=chosen)


def kept(call, module: nn.Module, *given: torch.Tensor) -> int:
    """Bytes that autograd keeps of a forward pass, each storage once, without parameters."""
    parameters = {p.untyped_storage()._cdata for p in module.parameters()}
    found: dict[int, int] = {}

    def pack(tensor):
        if (number := tensor.untyped_storage()._cdata) not in parameters:
            found[number] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        call(*given)
    return sum(found.values())


def gated(dtype: torch.dtype) -> Gated:
    torch.manual_seed(0)
    return Gated().to(dtype)


def small_llama() -> nn.Module:
    transformers = import_library("transformers", "a small decoder")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        vocab_size=256,
        attn_implementation="eager",
    )
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


@with_torchao
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_is_torchao_s_operation_by_operation_and_value_by_value(recipe, dtype):
    found = []
    for convert in (theirs, ours):
        module = convert(gated(dtype), recipe)
        x = torch.randn(2, 16, WIDTH, generator=torch.Generator().manual_seed(1)).to(dtype)
        x.requires_grad_()
        with Log() as log:
            made = module(x)
            torch.autograd.backward(made, torch.ones_like(made) * torch.arange(WIDTH, dtype=dtype))
        found.append((log.ops, made.detach(), x.grad, [p.grad for p in module.parameters()]))
    (wanted, *values), (ops, *own) = found
    assert ops == wanted
    assert sum(name == "_scaled_mm" for name, *_ in ops) == (6 if "gw_hp" in recipe else 9)
    for one, other in zip(own[:2], values[:2], strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(*pair) for pair in zip(own[2], values[2], strict=True))


@with_torchao
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_small_llama_is_torchao_s_to_the_byte(recipe):
    found, ids = [], torch.arange(32).reshape(2, 16)
    for convert in (theirs, ours):
        model = convert(small_llama(), recipe, ("lm_head",))
        bytes_kept = kept(lambda model=model: model(input_ids=ids, labels=ids), model)
        with Log() as log:
            torch.autograd.backward(model(input_ids=ids, labels=ids).loss)
        names = sorted(type(layer).__name__ for layer in model.modules())
        found.append((bytes_kept, log.ops, names, [p.grad for p in model.parameters()]))
    wanted, own = found
    assert own[:3] == wanted[:3]
    assert own[2].count("Float8Linear") == 2 * 7
    assert all(torch.equal(*pair) for pair in zip(own[3], wanted[3], strict=True))


def compiled_on_meta(recipe: str) -> int:
    with torch.device("meta"):
        block = ours(Gated().to(torch.bfloat16), recipe)
    regions, recorder, mode = Regions(), Recorder(block), CudaLike()
    regions.wrap(block, "block")
    regions.mode, regions.recorder = mode, recorder
    x = torch.empty(2, 16, WIDTH, dtype=torch.bfloat16, device="meta", requires_grad=True)
    with recorder, as_if_on_cuda(mode):
        found = kept(block, block, x)
    assert not regions.said
    return found


@pytest.mark.parametrize(
    ("convert", "recipe"),
    [pytest.param(theirs, recipe, marks=with_torchao) for recipe in RECIPES]
    + [(ours, recipe) for recipe in RECIPES],
)
def test_what_a_compiled_block_keeps_is_what_torch_compile_keeps(convert, recipe):
    """Of no weight a copy in 8 bits: the partitioner casts it again in the backward pass."""
    real = convert(gated(torch.bfloat16), recipe)
    x = torch.randn(2, 16, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    torch._dynamo.reset()
    call = torch.compile(real, backend="aot_eager_decomp_partition")
    assert compiled_on_meta(recipe) == kept(call, real, x)


@with_torchao
@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise"])
def test_the_layers_of_auto_are_those_of_torchao_s_filter(recipe):
    from torchao.float8 import _auto_filter_for_recipe

    chosen = _auto_filter_for_recipe(recipe, [])
    sizes = (512, 1024, 1040, 2048, 2064, 4096, 4112, 14336)
    for outputs in sizes:
        for inputs in sizes:
            layer = nn.Linear(inputs, outputs, device="meta")
            assert pays(recipe, outputs, inputs) == chosen(layer, "")
