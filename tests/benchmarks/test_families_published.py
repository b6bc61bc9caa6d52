"""The published figures of the newer families: the table, and the document made of answers."""

from benchmarks.families.judged import Judged, by_task, cases, summary
from benchmarks.families.published_document import document
from planner.validate.summaries import Comparison


def compared(case, quantity, measured, ours):
    return Comparison(
        case_id=case.id,
        table=case.table,
        quantity=quantity,
        measured=measured,
        p10=0.8 * ours,
        p50=ours,
        p90=1.2 * ours,
        basis="datasheet",
        strategy=case.strategy,
        gpu=case.gpu,
        family=case.family,
        modality=case.modality,
        split=case.split,
        assumed=case.assumed,
        model=case.model,
        why="70 % convolution",
    )


def test_the_table_covers_six_families_with_a_source_each():
    rows = cases()
    assert len(rows) >= 25
    assert len(list(by_task(Judged(c, (), None) for c in rows))) >= 6
    for case in rows:
        assert "@" in case.citation, case.id
        assert case.step_seconds or case.peaks, case.id
        assert case.assumed, case.id


def test_errors_are_signed_and_counted():
    case = cases()[0]
    found = summary([compared(case, "time", 1.0, 0.5), compared(case, "time", 1.0, 1.1)])
    assert (found.count, found.covered, found.worst) == (2, 1, -0.5)
    assert abs(found.median - 0.3) < 1e-9


def test_the_document_shows_misses_and_refusals():
    first, second = cases()[:2]
    text = document(
        [
            Judged(first, (compared(first, "allocated", 4e9, 2e9),), None),
            Judged(second, (), "ModelError: no"),
        ],
        53,
    )
    assert "-50%" in text and "ModelError: no" in text and first.assumed in text
