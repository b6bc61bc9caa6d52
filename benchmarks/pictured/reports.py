"""The HTML budget report in a browser: its first screen on a desk and on a phone, light and dark,
and one of its charts."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.pictured import Picture
from benchmarks.pictured.screens import printed
from planner.errors import MachineError, MissingExtraError

DATA = ("--samples", "20k", "--tokens-per-sample", "300")
QUESTION = ("report", "Llama-3.2-1B", *DATA, "--max-usd", "20")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
#: width: height, pixels: a desk's window, a phone's.
WINDOWS = {1280: 900, 390: 844}
#: Enough for flat colours; a picture then takes a quarter of the bytes.
COLOURS = 128


@contextmanager
def page(width: int, scheme: str) -> Iterator[Any]:
    """The report of ``QUESTION`` in a window, its charts drawn. Raises MachineError without a
    Chromium, MissingExtraError without Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingExtraError("playwright", "dev", "a picture of a page") from error
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise MachineError("no Chromium is installed to open the page")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "budget.html"
        printed(*QUESTION, "-o", str(file))
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        size = {"width": width, "height": WINDOWS[width]}
        opened = browser.new_page(viewport=size, color_scheme=scheme)
        opened.goto(file.as_uri())
        opened.wait_for_selector("figure.chart.drawn")
        yield opened
        browser.close()


def first_screen(folder: Path, *, file: str, width: int, scheme: str) -> None:
    with page(width, scheme) as opened:
        _save(folder / file, opened.screenshot())


def unfolded(folder: Path, *, file: str, section: str) -> None:
    """One section, open."""
    with page(1280, "light") as opened:
        opened.evaluate(f"document.getElementById({section!r}).open = true")
        opened.wait_for_selector(f"#{section} figure.drawn")
        _save(folder / file, opened.locator(f"#{section}").screenshot())


def _save(file: Path, png: bytes) -> None:
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


PICTURES = (
    *(
        Picture(
            file := f"report-{width}-{scheme}.png",
            f"the first screen of a budget report, {width} pixels wide, {scheme}",
            partial(first_screen, file=file, width=width, scheme=scheme),
        )
        for width in WINDOWS
        for scheme in ("light", "dark")
    ),
    Picture(
        "report-memory.png",
        "memory at its peak against the GPU, from a budget report",
        partial(unfolded, file="report-memory.png", section="memory"),
    ),
)
