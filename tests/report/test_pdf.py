"""The report on A4: it holds the document's figures, a page of summary, and no text of a user is
read as markup."""

import io
import re
import shutil
import subprocess

import pytest
from made_budget import HOSTILE, sample_answer, with_budget

from planner.errors import MissingExtraError
from planner.report.formats import pdf as pdf_module
from planner.report.formats.pdf import pdf
from planner.report.views.budget.sections import sections
from planner.report.words import clean

pytestmark = pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="pdftotext and pdfinfo (poppler) are not installed"
)


def run(program, data, *more):
    done = subprocess.run([program, *more], input=data, capture_output=True, check=True, timeout=60)
    return done.stdout.decode("utf-8")


def text_of(data, **pages):
    chosen = [word for key, value in pages.items() for word in (f"-{key}", str(value))]
    return run("pdftotext", data, "-raw", *chosen, "-", "-")


def squeezed(text):
    """Without spaces: a line may be broken anywhere."""
    return re.sub(r"[\s\u200b\u00ad]", "", text)


def pages_of(data):
    return int(re.search(r"Pages:\s+(\d+)", run("pdfinfo", data, "-"))[1])


@pytest.fixture(scope="module")
def document():
    return with_budget(sample_answer())


@pytest.fixture(scope="module")
def made(document):
    return pdf(document)


def test_the_first_page_holds_what_decides(document, made):
    first = squeezed(text_of(made, f=1, l=1))
    shown = {section.key: section for section in sections(document, every_figure=False)}
    facts = shown["summary"].facts
    assert len(facts) > 6
    for fact in facts:
        assert squeezed(fact.value) in first and squeezed(fact.detail) in first, fact
    for words in (*shown["summary"].paragraphs, *shown["recommendation"].paragraphs):
        assert squeezed(words) in first
    for row in shown["strategies"].tables[0].rows:
        assert all(squeezed(line) in first for cell in row for line in cell.split("\n")), row


def test_every_section_is_there_with_its_figures(document, made):
    text = squeezed(text_of(made))
    for section in sections(document, every_figure=False):
        title = section.title.upper() if section.key == "recommendation" else section.title
        assert squeezed(title) in text
        for table in section.tables:
            for row in table.rows:
                for at in table.right:
                    for line in row[at].split("\n"):
                        assert squeezed(line) in text, (section.key, row)


def test_pages_are_a4_few_and_numbered(made):
    assert "595.2" in run("pdfinfo", made, "-") and "841.8" in run("pdfinfo", made, "-")
    pages = pages_of(made)
    assert 4 <= pages <= 16
    assert f"Page 2 of {pages}" in text_of(made, f=2, l=2)
    assert "What it costs" in text_of(made, f=2, l=2)  # the running title
    assert "2026-11-28" in text_of(made, f=2, l=2)


def test_the_file_says_what_it_is(made):
    told = run("pdfinfo", made, "-")
    assert re.search(r"Title:\s+What it costs", told)
    assert re.search(r"Tagged:\s+yes", told)
    assert b"pdfuaid:part" in made  # PDF/UA: every picture has its words, every table its headers


def test_a_name_without_letters_to_set_it_in_costs_the_standard_alone():
    found = pdf(with_budget(sample_answer(), hostile="\u4f60\u597d \U00013000"))
    assert pages_of(found) > 3 and "$9.90" in text_of(found, f=1, l=1)


def test_the_same_report_is_the_same_file(document, made):
    assert pdf(document) == made


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_shown_as_they_are(document, made, text):
    found = pdf(with_budget(sample_answer(), hostile=text))
    assert squeezed(clean(text)) in squeezed(text_of(found)).replace("\u2010", "-")
    assert b"/URI" not in found and b"/JavaScript" not in found and b"/Launch" not in found
    assert pages_of(found) <= pages_of(made) + 2


@pytest.mark.parametrize("at", [None, 8, 9], ids=["nothing fits", "prompting", "by the token"])
def test_documents_without_a_rented_gpu(at):
    document = with_budget(sample_answer(), at=at)
    text = squeezed(text_of(pdf(document)))
    for fact in sections(document)[0].facts:
        assert squeezed(fact.value) in text


def test_an_answer_without_its_budget_is_set_too():
    answer = sample_answer()
    text = squeezed(text_of(pdf(answer)))
    for fact in sections(answer)[0].facts:
        assert squeezed(fact.value) in text


def test_a_missing_library_is_one_line(document, monkeypatch):
    def missing(name, purpose):
        raise MissingExtraError(name, "report", purpose)

    monkeypatch.setattr(pdf_module, "import_reporting", missing)
    with pytest.raises(MissingExtraError, match=r"planner\[report\]"):
        pdf(document)


def test_charts_are_drawn_not_photographed(made):
    """Lines and letters, which a printer sets sharp: no pictures of dots."""
    listed = run("pdfimages", made, "-list", "-")
    assert len(listed.splitlines()) <= 2
    assert len(io.BytesIO(made).getvalue()) < 1_000_000
