"""Models of nobody's library for the local runs: what ``package.module:function`` is for."""

from __future__ import annotations

COLUMNS, WIDTH, CLASSES = 96, 1024, 20


def tabular_mlp():
    """A residual multi-layer perceptron over a table's columns: (module, batch, loss)."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.up, self.down, self.drop = (
                nn.LayerNorm(WIDTH),
                nn.Linear(WIDTH, 2 * WIDTH),
                nn.Linear(2 * WIDTH, WIDTH),
                nn.Dropout(0.1),
            )

        def forward(self, x):
            return x + self.drop(self.down(nn.functional.silu(self.up(self.norm(x)))))

    module = nn.Sequential(
        nn.Linear(COLUMNS, WIDTH),
        *(Block() for _ in range(3)),
        nn.LayerNorm(WIDTH),
        nn.Linear(WIDTH, CLASSES),
    )

    def batch(B):
        return {"rows": torch.randn(B, COLUMNS), "labels": torch.zeros(B, dtype=torch.int64)}

    return (
        module,
        batch,
        lambda module, batch: nn.functional.cross_entropy(module(batch["rows"]), batch["labels"]),
    )
