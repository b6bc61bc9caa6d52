"""Reports that group their batches by length are asked so."""

import pytest

from benchmarks.whole.asking import question
from benchmarks.whole.report import Report, shipped


@pytest.mark.parametrize("words, asked", [("trained with group_by_length", True), ("", None)])
def test_a_report_that_states_it_is_asked_so(words, asked):
    report = next(one for one in shipped() if one.id == "uns-llama31-8b-alpaca-t4")
    told = Report({**report.cells, "notes": report["notes"] + "; " + words})
    assert question(told).fields.get("group_by_length") is asked
