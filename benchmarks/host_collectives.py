"""What the host needs to ask for a collective, and for FSDP2's hooks around a block.

    python benchmarks/host_collectives.py

On torch's fake process group (``torch.testing._internal.distributed.fake_pg``), which sends
nothing: what is left is Python, the dispatcher and the group's own bookkeeping, on tensors of a few
numbers. NCCL's own enqueueing comes on top of it. The best of several rounds, in seconds; the
figures are rows of kind ``host`` in ``profiles/priors/device.csv``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore

#: By their names since torch 2.13, which warns at each call of the old ones.
gather = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
scatter = getattr(dist, "reduce_scatter_single", dist.reduce_scatter_tensor)
RANKS, ROUNDS, CALLS = 8, 15, 200
WIDTH, FEW, MANY = 16, 4, 12


def best(call: Callable[[], object], calls: int = CALLS) -> float:
    """Seconds of a call in the fastest of ``ROUNDS``."""
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - begin) / calls)
    return min(found)


class Gathered(torch.autograd.Function):
    """As Megatron-LM's regions: one collective forward, one backward, each into a new buffer."""

    @staticmethod
    def forward(ctx, part):  # noqa: ANN001, ANN205
        whole = torch.empty(part.shape[0] * RANKS, *part.shape[1:])
        gather(whole, part)
        return whole

    @staticmethod
    def backward(ctx, gradient):  # noqa: ANN001, ANN205
        part = torch.empty(gradient.shape[0] // RANKS, *gradient.shape[1:])
        scatter(part, gradient)
        return part


def collectives() -> dict[str, float]:
    part, whole = torch.ones(2, WIDTH), torch.ones(2 * RANKS, WIDTH)
    leaf = torch.ones(2, WIDTH, requires_grad=True)

    def region() -> None:
        Gathered.apply(leaf).backward(whole)

    def plain() -> None:
        (leaf * 2).backward(part)

    def sends() -> None:
        asked = [dist.P2POp(dist.isend, part, 1), dist.P2POp(dist.irecv, part, 1)]
        for work in dist.batch_isend_irecv(asked):
            work.wait()

    return {
        "all_reduce": best(lambda: dist.all_reduce(part)),
        "all_gather": best(lambda: gather(whole, part)),
        "reduce_scatter": best(lambda: scatter(part, whole)),
        "a region's two, less a product's node": best(region) - best(plain),
        "batch_isend_irecv of a pair": best(sends),
        "an addition": best(lambda: part + part),
    }


def block(layers: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(layers)))


def unit_seconds(layers: int) -> tuple[float, float]:
    """Of forward and backward pass of one more block of so many linear layers, of two parameters
    each, under ``fully_shard``, less those of the same block without; and those."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (RANKS,))

    def step(blocks: int, shards: bool) -> float:
        model = nn.Sequential(*(block(layers) for _ in range(blocks)))
        if shards:
            for one in model:
                fully_shard(one, mesh=mesh)
            fully_shard(model, mesh=mesh)
        x = torch.ones(2, WIDTH)
        return best(lambda: model(x).sum().backward(), 3)

    sharded, plain = (step(MANY, way) - step(FEW, way) for way in (True, False))
    return (sharded - plain) / (MANY - FEW), plain / (MANY - FEW)


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("fake", rank=0, world_size=RANKS, store=FakeStore())
    for name, seconds in collectives().items():
        print(f"{name}: {seconds * 1e6:.1f} us")
    (few, plain), (many, _) = unit_seconds(1), unit_seconds(5)
    each = (many - few) / 8
    print(f"a block of one linear layer, forward and backward: {plain * 1e6:.0f} us")
    print(f"more as a unit of FSDP2: {(few - 2 * each) * 1e6:.0f} us")
    print(f"and each of its parameters: {each * 1e6:.0f} us")


if __name__ == "__main__":
    main()
