"""The workbook: its figures are the document's, its totals follow its inputs as the planner's own
answers do, and no text of a user becomes a formula."""

import io
import shutil
import zipfile

import openpyxl
import pytest
from made_budget import HOSTILE, sample_answer, with_budget
from recalculated import Evaluator, by_libreoffice, cached

from planner import Question, estimate
from planner.errors import QuestionError
from planner.report.formats.workbook.book import SHEETS
from planner.report.formats.workbook.live import PHASES
from planner.report.formats.xlsx import render
from planner.report.words import clean

NEEDS_LIBREOFFICE = pytest.mark.skipif(
    shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed"
)
#: Sums of floats in another order.
SAME = 1e-9


def asked(**more):
    """LoRA of a model whose trace is shipped, on a GPU at a price of one's own."""
    question = {
        "model": "Llama-3.2-1B",
        "samples": 20_000,
        "tokens_per_sample": 400,
        "strategy": ["lora"],
        "gpu": "a100-80-sxm",
    }
    return with_budget(estimate(Question(**question | more)), at=0)


@pytest.fixture(scope="module")
def document():
    return with_budget(sample_answer())


def close(value, wanted, tolerance=SAME):
    return value == pytest.approx(wanted, rel=tolerance)


def test_sheets_are_named_frozen_and_one_page_wide(document):
    book = openpyxl.load_workbook(io.BytesIO(render(document)))
    assert tuple(book.sheetnames) == SHEETS
    assert book["Strategies"].freeze_panes and book["Offers"].freeze_panes
    for sheet in book:
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert (sheet.page_setup.fitToWidth or 1, sheet.page_setup.fitToHeight) == (1, 0)


@pytest.mark.parametrize(
    "made",
    [
        lambda: with_budget(sample_answer()),
        lambda: asked(price=2.0),
        lambda: asked(price=2.0, trials=3, failed_share=0.1),
        lambda: asked(provider="runpod", usd_per_label=0.01, saves_per_epoch=2),
        lambda: asked(gpus=2, price=1.0),
    ],
    ids=["sample", "a price", "trials", "a provider, labels", "two GPUs"],
)
def test_every_formula_is_worked_out_to_the_value_beside_it(made):
    data = render(made())
    stored, evaluator = cached(data), Evaluator(data)
    formulas = list(evaluator.formulas())
    assert len(formulas) > 30
    for sheet, cell, text in formulas:
        value = stored[sheet][cell].value
        assert close(evaluator.value(sheet, cell), value), (sheet, cell, text)


def test_the_totals_are_the_documents(document):
    sums, budget = Evaluator(render(document)), document["budget"]
    assert close(sums.name("Run_USD"), budget["headline"]["usd"]["p50"])
    assert close(sums.name("Wall_hours"), budget["headline"]["wall_hours"]["p50"], 1e-6)
    assert close(sums.name("Project_low_USD"), budget["project"]["low_usd"])
    assert close(sums.name("Project_high_USD"), budget["project"]["high_usd"])


def _of_the_run(sums):
    names = ("Run_USD", "Wall_hours", "Project_low_USD", "Project_high_USD")
    return {name: sums.name(name) for name in names}


def _answered(document):
    budget = document["budget"]
    return {
        "Run_USD": budget["headline"]["usd"]["p50"],
        "Wall_hours": budget["headline"]["wall_hours"]["p50"],
        "Project_low_USD": budget["project"]["low_usd"],
        "Project_high_USD": budget["project"]["high_usd"],
    }


#: (question, the same asked anew, inputs that stand for it, how near). Checkpoints at a cadence of
#: steps are not followed: seconds.
CHANGES = [
    ({"price": 2.0}, {"price": 3.25}, {"GPU_hour_price": 3.25}, SAME),
    ({"price": 2.0}, {"epochs": 1}, {"Epochs": 1}, 5e-4),
    ({"price": 2.0}, {"epochs": 7}, {"Epochs": 7}, 5e-4),
    ({"price": 2.0, "saves_per_epoch": 2}, {"epochs": 5}, {"Epochs": 5}, 5e-4),
    # a provider rounds time up to its second, a price of one's own does not
    ({"provider": "runpod"}, {"provider": None, "price": 4.0}, {"GPU_hour_price": 4.0}, 5e-4),
]


@pytest.mark.parametrize("start, change, inputs, near", CHANGES)
def test_a_changed_input_answers_as_the_planner_does(start, change, inputs, near):
    sums = Evaluator(render(asked(**start)), **inputs)
    wanted = _answered(asked(**start | change))
    assert _of_the_run(sums) == pytest.approx(wanted, rel=near)
    unchanged = _answered(asked(**start))
    assert unchanged["Run_USD"] != pytest.approx(wanted["Run_USD"], rel=0.05)


def test_further_trials_answer_as_the_planner_does():
    data = render(asked(price=2.0, trials=2, failed_share=0.1))
    wanted = asked(price=2.0, trials=5, failed_share=0.1)
    assert close(Evaluator(data, Trials=5).name("Run_USD"), _answered(wanted)["Run_USD"])
    from_one = Evaluator(render(asked(price=2.0)), Trials=3).name("Run_USD")
    assert close(from_one, 3 * _answered(asked(price=2.0))["Run_USD"])


def test_ranges_keep_their_proportion():
    start, wanted = asked(price=2.0), asked(price=3.0)["budget"]["headline"]["usd"]
    sums = Evaluator(render(start), GPU_hour_price=3.0)
    row = _row_of(sums.book["Summary"], "The run, all its trials")
    for column, key in (("C", "p10"), ("D", "p90")):
        assert close(sums.value("Summary", f"{column}{row}"), wanted[key])


def _row_of(sheet, title):
    return next(cell.row for cell in sheet["A"] if cell.value == title)


def test_what_epochs_do_not_scale_is_no_input():
    answer = estimate(
        Question(
            model="Llama-3.2-1B",
            samples=2000,
            tokens_per_sample=200,
            strategy=["lora"],
            gpu="a100-80-sxm",
            max_steps=100,
        )
    )
    sums = Evaluator(render(with_budget(answer, at=0)))
    assert "Epochs" not in sums.names
    texts = [cell.value for cell in sums.book["Summary"]["A"] if cell.value]
    assert "Epochs are no input: the question sets the steps." in texts


@NEEDS_LIBREOFFICE
@pytest.mark.slow
@pytest.mark.parametrize(
    "start, change, inputs, near", [({"price": 2.0}, {}, {}, SAME), CHANGES[0], CHANGES[2]]
)
def test_libreoffice_works_out_the_same(tmp_path, start, change, inputs, near):
    book, names = by_libreoffice(render(asked(**start)), tmp_path, **inputs)
    found = {
        name: book[names[name][0]][names[name][1]].value
        for name in ("Run_USD", "Wall_hours", "Project_low_USD", "Project_high_USD")
    }
    assert found == pytest.approx(_answered(asked(**start | change)), rel=near)
    errors = [c.value for s in book for row in s.iter_rows() for c in row if c.data_type == "e"]
    assert not errors


@NEEDS_LIBREOFFICE
@pytest.mark.slow
def test_libreoffice_leaves_the_sample_as_it_is(document, tmp_path):
    data = render(document)
    book, _ = by_libreoffice(data, tmp_path)
    stored = cached(data)
    for sheet, cell, text in Evaluator(data).formulas():
        assert close(book[sheet][cell].value, stored[sheet][cell].value), (sheet, cell, text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts(text):
    data = render(with_budget(sample_answer(), hostile=text))
    book = openpyxl.load_workbook(io.BytesIO(data))
    formulas = [f for _, _, f in Evaluator(data).formulas()]
    assert not any(word in f for f in formulas for word in ("HYPERLINK", "cmd", "SUM(1)", "2+3"))
    written = {c.value for s in book for row in s.iter_rows() for c in row if c.data_type == "s"}
    assert clean(text) in written
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        names = parts.namelist()
        assert not any("externalLink" in name or "vba" in name.lower() for name in names)
        assert not any(
            b"<hyperlink" in parts.read(n) or b"TargetMode" in parts.read(n) for n in names
        )


@pytest.mark.parametrize("at", [None, 8, 9], ids=["nothing fits", "prompting", "by the token"])
def test_documents_without_a_rented_gpu(at):
    document = with_budget(sample_answer(), at=at)
    data = render(document)
    sums, stored = Evaluator(data), cached(data)
    assert "GPU_hour_price" not in sums.names
    for sheet, cell, _ in sums.formulas():
        assert close(sums.value(sheet, cell), stored[sheet][cell].value)
    if at is not None:
        assert close(sums.name("Run_USD"), document["budget"]["headline"]["usd"]["p50"])


def test_the_same_report_is_the_same_file(document):
    assert render(document) == render(document)


def test_an_answer_without_its_budget_is_one_line():
    with pytest.raises(QuestionError, match="planner report MODEL DATA -o budget.xlsx"):
        render(sample_answer())


# ---- real reports


@pytest.fixture(scope="module")
def report():
    """The document of ``planner report``, for LoRA at a price of one's own."""
    make = pytest.importorskip("planner.budget.make", reason="no report can be asked for yet")

    def made(**more):
        question = {"model": "Llama-3.2-1B", "samples": 20_000, "tokens_per_sample": 400}
        question |= {"strategy": ["lora"], "gpu": "a100-80-sxm", "price": 2.0}
        return make.budget(Question(**question | more))

    return made


def test_a_real_report_follows_its_inputs(report):
    start = render(report())
    assert _of_the_run(Evaluator(start)) == pytest.approx(_answered(report()), rel=SAME)
    dearer = _of_the_run(Evaluator(start, GPU_hour_price=3.0))
    assert dearer == pytest.approx(_answered(report(price=3.0)), rel=SAME)
    longer = _of_the_run(Evaluator(start, Epochs=5))
    assert longer == pytest.approx(_answered(report(epochs=5)), rel=5e-4)
    searched = Evaluator(render(report(trials=2, failed_share=0.1)), Trials=4).name("Run_USD")
    wanted = report(trials=4, failed_share=0.1)
    assert close(searched, _answered(wanted)["Run_USD"])


def test_the_bill_calls_phases_as_the_workbook_reads_them():
    lines = pytest.importorskip("planner.budget.parts.bill_lines", reason="no bill of lines yet")
    assert PHASES == {name: phase for phase, name in lines.PHASES.items()}
