"""One document in every format: each shows the document's own figures, and says the same where
nothing fits, a limit is broken, or nothing is rented."""

import csv
import html
import io
import json
import re
import shutil
import subprocess

import docx as word
import openpyxl
import pytest
from made_budget import sample_answer, with_budget

from planner.report.formats.registry import formats_of
from planner.report.words import hours_text, percentiles, usd_text

SUFFIXES = tuple(formats_of("answer"))


def broken():
    """A sum of which the recommended option takes more."""
    answer = sample_answer()
    answer["question"]["max_usd"] = 5.0
    for option in answer["options"]:
        usd = (option["cost"] or {}).get("usd")
        if usd:
            used = {"limit": "max_usd", "allowed": 5.0, "used": usd, "kept": usd["p50"] <= 5.0}
            option["limits"] = [used | {"left": 5.0 - usd["p50"], "chance_kept": 0.02, "runs": 0}]
    return with_budget(answer)


DOCUMENTS = {
    "rented": lambda: with_budget(sample_answer()),
    "a broken limit": broken,
    "nothing fits": lambda: with_budget(sample_answer(), at=None),
    "by the token": lambda: with_budget(sample_answer(), at=8),
}


def _squeezed(text):
    return re.sub(r"[\s\u200b\u00ad]", "", text)


def _pdf(data):
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler) is not installed")
    command = ["pdftotext", "-raw", "-", "-"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode()


def _docx(data):
    read = word.Document(io.BytesIO(data))
    cells = [cell.text for table in read.tables for cell in table._cells]
    return "\n".join([*(p.text for p in read.paragraphs), *cells])


def _html(page):
    body = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "\n", body))


def _markdown(text):
    return html.unescape(text.replace("\\", ""))


WORDED = {".pdf": _pdf, ".docx": _docx, ".html": _html, ".md": _markdown}


def _rounded(number):
    """Spreadsheets hold fifteen digits."""
    return float(f"{number:.12g}")


def _numbers(suffix, data):
    """Every number of a format that holds numbers, not words."""
    if suffix == ".xlsx":
        book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
        cells = [cell.value for sheet in book for row in sheet.iter_rows() for cell in row]
        return [cell for cell in cells if isinstance(cell, (int, float))]
    if suffix == ".csv":
        cells = (cell for row in csv.reader(io.StringIO(data)) for cell in row)
        return [float(cell) for cell in cells if re.fullmatch(r"-?\d[\d.]*(e-?\d+)?", cell)]
    return _leaves(json.loads(data))


def _leaves(part):
    if isinstance(part, (dict, list)):
        inside = part.values() if isinstance(part, dict) else part
        return [leaf for each in inside for leaf in _leaves(each)]
    return [part] if isinstance(part, (int, float)) and not isinstance(part, bool) else []


def _figures(document):
    """(figure, how it is worded) of every option: dollars and hours."""
    for option in document["options"]:
        if option["cost"]:
            yield option["cost"]["usd"], usd_text
        if option["run"]:
            yield option["run"]["wall_hours"], hours_text


def test_the_formats_of_an_answer():
    assert {".html", ".pdf", ".xlsx", ".docx", ".md", ".csv", ".json"} <= set(SUFFIXES)


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_option_has_the_documents_figures(suffix, kind):
    document = DOCUMENTS[kind]()
    made = formats_of("answer")[suffix].render(document)
    if suffix in WORDED:
        text = _squeezed(WORDED[suffix](made))
        for figure, word in _figures(document):
            assert all(_squeezed(part) in text for part in percentiles(figure, word)), figure
    else:
        numbers = set(map(_rounded, _numbers(suffix, made)))
        for figure, word in _figures(document):
            # the workbook lists the range of GPU time beside the median of the wall-clock time
            keys = ["p50"] if suffix == ".xlsx" and word is hours_text else figure
            assert all(_rounded(figure[key]) in numbers for key in keys), figure


@pytest.mark.parametrize("suffix", (".pdf", ".docx", ".xlsx"))
def test_a_broken_limit_and_no_recommendation_are_said(suffix):
    def said(document):
        made = formats_of("answer")[suffix].render(document)
        if suffix != ".xlsx":
            return WORDED[suffix](made)
        book = openpyxl.load_workbook(io.BytesIO(made), data_only=True)
        return "\n".join(
            str(c.value) for row in book["Summary"].iter_rows() for c in row if c.value
        )

    assert "is broken" in _said_in_one_line(said(broken()))
    assert "can be recommended" in _said_in_one_line(said(DOCUMENTS["nothing fits"]()))
    assert "is broken" not in _said_in_one_line(said(DOCUMENTS["rented"]()))


def _said_in_one_line(text):
    return " ".join(text.split())
