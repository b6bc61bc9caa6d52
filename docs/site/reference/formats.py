"""What is read and written, by suffix."""

from __future__ import annotations

from reference.markdown import code, page, plain, table

WRITTEN = {"answer": "A report", "runs": "Runs of the ledger", "picture": "A picture"}


def made() -> str:
    from planner.datasets import readers
    from planner.question import importers
    from planner.report.formats.registry import formats_of

    data = [
        (plain(one.format), ", ".join(map(code, one.suffixes)), plain(one.hint))
        for one in readers.registry()
    ]
    written = [(words, ", ".join(map(code, formats_of(kind)))) for kind, words in WRITTEN.items()]
    tools = "\n".join(f"- {plain(importer.tool)}" for importer in importers.registry())
    return page(
        "Formats",
        "## Data that is read\n\n" + table(("Format", "Suffixes", "Called"), data),
        "## Configuration files that are read as a question\n\n`planner estimate FILE` reads "
        f"`project.yaml` (`planner init` writes one) and the files of\n\n{tools}",
        "## What is written\n\n" + table(("What", "Suffixes"), written),
    )
