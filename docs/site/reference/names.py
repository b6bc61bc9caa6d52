"""Strategies, stacks, GPUs and models: what a name may be."""

from __future__ import annotations

from itertools import groupby

from reference.markdown import code, page, plain, table


def strategies() -> str:
    from planner.question import ALL_STRATEGIES, PAID_STRATEGIES
    from planner.training.registry import registry

    trained = registry()
    rows = [(code(name), plain(one.title), plain(one.trains)) for name, one in trained.items()]
    return page(
        "Strategies",
        "All are compared when none is named; `--strategy NAME` may be given several times.",
        "## Trained on a device\n\n" + table(("Name", "Title", "What trains"), rows),
        "## Paid by the token\n\n"
        + "\n".join(f"- {code(name)}" for name in ALL_STRATEGIES if name in PAID_STRATEGIES),
    )


def stacks() -> str:
    """The rows of profiles/stacks/stacks.csv, by trainer."""
    from planner import tables

    rows = sorted(tables.rows("stacks", "stacks.csv"), key=lambda row: row["trainer"])
    parts = []
    for trainer, group in groupby(rows, key=lambda row: row["trainer"]):
        cells = [
            (
                code(row["key"]),
                plain(row["since"]),
                plain(row["until"]),
                plain(" ".join(filter(None, (row["value"], row["unit"], row["word"])))),
                plain(row["why"]),
                plain(row["source"]),
            )
            for row in group
        ]
        headers = ("Key", "Since", "Until", "Value", "What it is", "Source")
        parts.append(f"## {code(trainer)}\n\n{table(headers, cells)}")
    return page(
        "Stacks",
        "`--stack TRAINER` or `--stack TRAINER-YEAR` says which software runs the training, of "
        "which day. Rows of `profiles/stacks/stacks.csv`: what each does by itself, since when.",
        *parts,
    )


def gpus() -> str:
    from planner.report.views import catalogue

    return _catalogue(
        "GPUs",
        "`--gpu NAME`, as `planner gpus` lists them.",
        catalogue.gpu_table(catalogue.gpus(None)),
    )


def models() -> str:
    from planner.report.views import catalogue

    return _catalogue(
        "Models",
        "Answered without a download, as `planner models` lists them. Any other is a hub id, a "
        "folder, `timm:NAME`, `torchvision:NAME`, `package.module:function` or a size, `7B`.",
        catalogue.model_table(catalogue.models(None)),
    )


def _catalogue(title: str, words: str, shown) -> str:
    return page(title, words, table(shown.headers, ([plain(c) for c in row] for row in shown.rows)))
