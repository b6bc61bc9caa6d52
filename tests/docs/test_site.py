"""The documentation is built strictly, asks the network for nothing, and its reference is the
code's."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from reference import pages

import planner
from planner.cli.main import COMMANDS
from planner.errors import flag
from planner.question import ALL_STRATEGIES, Question

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "docs" / "site" / "mkdocs.yml"


def build(into, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(CONFIG), "-d", str(into)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", **environment},
        capture_output=True,
        text=True,
    )


class Fetched(HTMLParser):
    """Addresses that a browser fetches by itself: not those of links that somebody clicks."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found.append(values.get("src") or "")
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.found.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    into = tmp_path_factory.mktemp("site")
    done = build(into, PLANNER_DOCS_RUN="never")
    assert done.returncode == 0, done.stdout + done.stderr
    return into


def test_every_page_of_the_documentation_is_built(site):
    built = {page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html")}
    written = {
        page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        for page in (ROOT / "docs").rglob("*.md")
        if "site" not in page.relative_to(ROOT / "docs").parts
    }
    made = {f"reference/{name}" for name in pages.all_pages()}
    assert written <= built and made <= built


def test_every_page_stands_in_the_navigation(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        assert f'href="decisions/{page.stem}.html"' in start
    assert 'href="tutorials/before_a_project.html"' in start


def test_no_page_asks_the_network_for_anything(site):
    for page in site.rglob("*.html"):
        for address in Fetched(page.read_text(encoding="utf-8")).found:
            assert not re.match(r"(https?:)?//", address), f"{page}: {address}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\([\"']?(https?:)?//|@import", text), sheet


@pytest.mark.slow
def test_the_commands_of_the_documentation_run(tmp_path):
    done = build(tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "tutorials" / "before_a_project.html").read_text(encoding="utf-8")
    assert "lora" in page and "the cheapest way costs" in page


def test_the_reference_has_every_name_of_the_code():
    made = pages.all_pages()
    for name in Question.model_fields:
        called = {"model": "MODEL", "data": "DATA"}.get(name) or flag(name)
        assert f"| `{called}` |" in made["fields"], name
    for name in COMMANDS:
        assert f"## planner {name}\n" in made["commands"], name
    for name in ALL_STRATEGIES:
        assert f"`{name}`" in made["strategies"], name
    for name in planner.__all__:
        assert name.startswith("__") or f"## {name}\n" in made["python"], name
    assert "### Answer.best" in made["python"] and "### Option.hours" in made["python"]
    assert "## MemoryBreakdown" in made["answer"] and "`rtx-4090`" not in made["answer"]
    assert "RTX 4090" in made["gpus"] and "Llama-3.2-1B" in made["models"]


def test_a_field_says_what_it_takes():
    rows = {
        line.split("`")[1]: line for line in pages.all_pages()["fields"].splitlines() if "`" in line
    }
    assert "`longest`, `max`, `packed`" in rows["--padding"]
    assert "a whole number | `16`" in rows["--lora-rank"]
    assert "yes or no" in rows["--spot"]


def test_tables_of_the_reference_are_whole():
    for name, text in pages.all_pages().items():
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(widths) == 1, f"{name}: {block[:200]}"


def test_the_navigation_names_pages_that_are_there():
    def named(part):
        for item in part if isinstance(part, list) else [part]:
            yield from (
                (page for value in item.values() for page in named(value))
                if isinstance(item, dict)
                else [item]
            )

    listed = set(named(yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["nav"]))
    made = {f"reference/{name}.md" for name in pages.all_pages()}
    assert all((ROOT / "docs" / page).is_file() for page in listed - made) and made <= listed
