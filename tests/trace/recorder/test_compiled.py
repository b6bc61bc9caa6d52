"""What torch.compile's partitioner keeps, against torch.compile itself on real numbers, and kernels
that compute what the graph computes."""

from __future__ import annotations

import importlib.util

import pytest

if not importlib.util.find_spec("torch"):
    pytest.skip("needs torch", allow_module_level=True)

import torch
from functorch.compile import aot_function, min_cut_rematerialization_partition
from torch import nn
from torch._inductor.decomposition import select_decomp_table
from torch.autograd.graph import saved_tensors_hooks

from planner.trace.recorder.as_if_on_cuda import as_if_on_cuda
from planner.trace.recorder.compiled import kernels
from planner.trace.recorder.compiled.kernels import Kernels
from planner.trace.recorder.compiled.regions import Regions
from planner.trace.recorder.cuda_mode import CudaLike
from planner.trace.recorder.dispatch_mode import Recorder

WIDTH = 16


class Gated(nn.Module):
    """A norm, a gated product and a residual, as a decoder's second half."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.gate, self.up = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.down = nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, x):
        y = self.norm(x)
        return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))


class Rotated(nn.Module):
    """Halves of heads that are turned and put together, and a softmax."""

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q = self.q(x)
        a, b = q[..., : WIDTH // 2], q[..., WIDTH // 2 :]
        turned = q * 0.5 + torch.cat((-b, a), dim=-1) * 0.25
        return torch.softmax(turned @ turned.transpose(1, 2), dim=-1) @ q


def saved_bytes(call, *given) -> int:
    """Of what autograd keeps, each storage once, without the parameters."""
    found: dict[int, int] = {}

    def pack(tensor):
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            found[storage._cdata] = tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        call(*given)
    return sum(found.values())


@pytest.mark.parametrize("kind", [Gated, Rotated])
def test_what_is_kept_is_what_torch_compile_keeps(kind):
    real = kind()
    x = torch.randn(2, 8, WIDTH, requires_grad=True)
    torch._dynamo.reset()
    wanted = saved_bytes(torch.compile(real, backend="aot_eager_decomp_partition"), x)
    with torch.device("meta"):
        block = kind()
    regions = Regions()
    regions.wrap(block, "block")
    recorder, mode = Recorder(block), CudaLike()
    regions.mode, regions.recorder = mode, recorder
    given = torch.empty(2, 8, WIDTH, device="meta", requires_grad=True)
    parameters = {p.untyped_storage()._cdata for p in block.parameters()}
    found: dict[int, int] = {}

    def pack(tensor):
        if (number := tensor.untyped_storage()._cdata) not in parameters:
            found[number] = tensor.numel() * tensor.element_size()
        return tensor

    with recorder, as_if_on_cuda(mode), saved_tensors_hooks(pack, lambda tensor: tensor):
        block(given)
    assert not regions.said
    assert sum(found.values()) == wanted


@pytest.mark.parametrize("kind", [Gated, Rotated])
def test_kernels_compute_what_the_graph_computes(kind):
    torch.manual_seed(1)
    block = kind()
    x = torch.randn(3, 5, WIDTH, requires_grad=True)
    names = [name for name, _ in block.named_parameters()]
    graphs: list[Kernels] = []

    def kept(gm, example_inputs):
        graphs.append(Kernels(gm))
        return graphs[-1]

    def called(weights, x):
        return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), (x,))

    compiled = aot_function(
        called,
        fw_compiler=kept,
        bw_compiler=kept,
        partition_fn=min_cut_rematerialization_partition,
        decompositions=select_decomp_table(),
    )
    weights = list(block.parameters())
    found, wanted = compiled(weights, x), block(x)
    seed = torch.randn_like(wanted)
    assert torch.allclose(found, wanted, atol=1e-5)
    ends = [*weights, x]
    for one, other in zip(
        torch.autograd.grad(found, ends, seed), torch.autograd.grad(wanted, ends, seed), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-4)
    fused = sum(step.group is not None for graph in graphs for step in graph.steps)
    nodes = sum(len(step.group.nodes) for g in graphs for step in g.steps if step.group)
    assert fused < nodes / 2


def test_a_part_that_cannot_be_traced_is_told():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(WIDTH, WIDTH)

        def forward(self, x):
            if type(x) is not torch.Tensor:
                raise RuntimeError("it looks at what it is given")
            return self.layer(x)

    with torch.device("meta"):
        block = Asks()
    regions = Regions()
    regions.wrap(block, "block")
    recorder, mode = Recorder(block), CudaLike(numbers=1.0)
    regions.mode, regions.recorder = mode, recorder
    with recorder, as_if_on_cuda(mode):
        out = block(torch.empty(2, WIDTH, device="meta", requires_grad=True))
    assert out.shape == (2, WIDTH)
    names = {raw[0] for raw in recorder.finish().signatures}
    assert regions.said and "aten.addmm.default" in names


def test_a_kernel_is_not_told_by_its_inputs():
    """Answers of meta are remembered by what an operation is given; a kernel's are not."""
    given = torch.empty(2, 8, device="meta")
    shapes = []
    with Recorder(nn.Module()):
        for compute in (lambda read: [read[0].sum(0)], lambda read: [read[0] + 1, read[0] * 2]):
            kernels._RUNNING.append(compute)
            shapes.append([tuple(made.shape) for made in torch.ops.planner.fused([given], 1)])
            kernels._RUNNING.pop()
    assert shapes == [[(8,)], [(2, 8), (2, 8)]]


@pytest.mark.parametrize("kind", ["BatchNorm", "cross entropy"])
def test_several_results_stay_together(kind):
    """A mean and a variance come from one operation, and its parts are read elsewhere."""
    if kind == "BatchNorm":
        call, given = (
            nn.BatchNorm1d(WIDTH, affine=False, track_running_stats=False),
            (torch.randn(6, WIDTH, requires_grad=True),),
        )
    else:
        call, targets = nn.functional.cross_entropy, torch.randint(0, WIDTH, (6,))
        given = (torch.randn(6, WIDTH, requires_grad=True), targets)
    compiled = aot_function(
        lambda *args: call(*args),
        fw_compiler=lambda gm, example_inputs: Kernels(gm),
        bw_compiler=lambda gm, example_inputs: Kernels(gm),
        partition_fn=min_cut_rematerialization_partition,
        decompositions=select_decomp_table(),
    )
    found, wanted = compiled(*given), call(*given)
    assert torch.allclose(found, wanted, atol=1e-5)
    one, other = (torch.autograd.grad(made.sum(), given[:1])[0] for made in (found, wanted))
    assert torch.allclose(one, other, atol=1e-5)
