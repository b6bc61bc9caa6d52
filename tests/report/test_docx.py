"""The Word document, read back: headings, tables with header rows, pictures with alternative text,
and every figure of the sections."""

import io
import shutil
import subprocess
import zipfile

import docx as word
import pytest
from docx.oxml.ns import qn
from made_budget import HOSTILE, sample_answer, with_budget

from planner.errors import MissingExtraError
from planner.report.formats import docx as docx_module
from planner.report.formats.docx import docx
from planner.report.views.budget.sections import sections
from planner.report.words import clean


def read(data):
    return word.Document(io.BytesIO(data))


def texts(document):
    """Every text: paragraphs, then cells."""
    found = [paragraph.text for paragraph in document.paragraphs]
    cells = [cell for table in document.tables for cell in table._cells]
    return found + [cell.text for cell in cells]


@pytest.fixture(scope="module")
def document():
    return with_budget(sample_answer())


@pytest.fixture(scope="module")
def made(document):
    return docx(document)


def test_every_section_is_a_heading_and_every_table_a_table(document, made):
    read_back, shown = read(made), sections(document, every_figure=False)
    headings = [p.text for p in read_back.paragraphs if p.style.name == "Heading 1"]
    assert headings == [section.title for section in shown if section.key != "summary"]
    assert read_back.paragraphs[0].style.name == "Title"
    wanted = [grid for section in shown for grid in section.tables]
    tables = read_back.tables[1:]  # the first holds the facts
    assert len(tables) == len(wanted) > 10
    for table, grid in zip(tables, wanted):
        rows = [tuple(cell.text for cell in row.cells) for row in table.rows]
        assert rows == [grid.headers, *grid.rows]
        assert table.rows[0]._tr.trPr.find(qn("w:tblHeader")) is not None


def test_the_facts_stand_first(document, made):
    summary = sections(document)[0]
    start = "\n".join(texts(read(made)))
    for fact in summary.facts:
        assert fact.label in start and fact.value in start and fact.detail in start


def test_pictures_say_what_they_show(document, made):
    shown = read(made).inline_shapes
    assert len(shown) >= 6
    for picture in shown:
        alt = picture._inline.docPr.get("descr")
        assert len(alt) > 40 and "\x1b" not in alt


def test_pages_are_a4_with_running_title_and_numbers(made):
    section = read(made).sections[0]
    assert (round(section.page_width.mm), round(section.page_height.mm)) == (210, 297)
    assert "What it costs · made on 2026-11-28" in section.header.paragraphs[0].text
    fields = [part.text for part in section.footer._element.iter(qn("w:instrText"))]
    assert fields == ["PAGE", "NUMPAGES"]


def test_the_same_report_is_the_same_file(document, made):
    assert docx(document) == made


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_they_are(text):
    made = docx(with_budget(sample_answer(), hostile=text))
    assert any(clean(text) in shown for shown in texts(read(made)))
    with zipfile.ZipFile(io.BytesIO(made)) as parts:
        names = parts.namelist()
        outside = b"".join(parts.read(name) for name in names if name.endswith(".rels"))
        inside = parts.read("word/document.xml")
    assert b"TargetMode" not in outside and b"hyperlink" not in inside
    kinds = {b"PAGE", b"NUMPAGES"}
    assert not [f for f in inside.split(b"<w:instrText>")[1:] if f.split(b"<")[0] not in kinds]


@pytest.mark.parametrize("at", [None, 8, 9], ids=["nothing fits", "prompting", "by the token"])
def test_documents_without_a_rented_gpu(at):
    document = with_budget(sample_answer(), at=at)
    found = "\n".join(texts(read(docx(document))))
    for fact in sections(document)[0].facts:
        assert fact.value in found


def test_a_missing_library_is_one_line(document, monkeypatch):
    def missing(name, purpose):
        raise MissingExtraError(name, "report", purpose)

    monkeypatch.setattr(docx_module, "import_reporting", missing)
    with pytest.raises(MissingExtraError, match=r"planner\[report\]"):
        docx(document)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")
def test_libreoffice_opens_it(made, tmp_path):
    (tmp_path / "budget.docx").write_bytes(made)
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    command = ["soffice", profile, "--headless", "--convert-to", "pdf", "--outdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(tmp_path / "budget.docx")], capture_output=True, timeout=180
    )
    if b"no export filter" in done.stderr or b"could not be loaded" in done.stderr:
        pytest.skip("LibreOffice is here without its word processor")
    assert (tmp_path / "budget.pdf").read_bytes().startswith(b"%PDF")
