"""Tables of numbers and categories, and series over time: which columns are read as what."""

import csv
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.datasets.scanning import scan
from planner.datasets.tabular.columns import columns_of
from planner.datasets.tabular.series import series_of
from planner.errors import DataError

CLASSES, MEASURED, SERIES = (
    "tabular_classification",
    "tabular_regression",
    "time_series_forecasting",
)


def written(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def people(tmp_path):
    random.seed(0)
    rows = [
        [i, random.randint(17, 90), random.choice("abcd"), random.choice(["HS", "BA"]), x, y]
        for i in range(200)
        for x, y in [(round(random.random(), 3), random.choice(["<=50K", ">50K"]))]
    ]
    return written(tmp_path / "people.csv", ["id", "age", "work", "school", "gain", "income"], rows)


def test_rows_are_counted_by_their_columns(people):
    found = scan(people, task=CLASSES)
    assert (found.modality, found.samples, found.classes) == ("table", 200, 2)
    assert found.rows.numbers == ("age", "gain")
    assert found.rows.categories == {"work": 4, "school": 2}
    assert found.rows.left_out == {"id": "identifiers"}
    assert (found.rows.target, found.told_task) == ("income", CLASSES)
    said = [line.text for line in found.first_lines]
    assert said[0] == (
        "200 rows of 2 numbers (age, gain) and 2 categories (work of 4, school of 2); the target "
        "is 'income', 2 values"
    )
    assert any("'income' is assumed (the last column)" in text for text in said)
    assert any(text == "columns left out: 'id' (identifiers)" for text in said)


def test_the_user_names_the_columns_the_target_last(people):
    alone = scan(people, task=MEASURED, text_columns=["gain"])
    assert alone.rows.target == "gain" and alone.told_task == MEASURED
    assert set(alone.rows.categories) == {"work", "school", "income"}
    assert not any("assumed" in line.text for line in alone.first_lines)
    some = scan(people, task=MEASURED, text_columns=["work", "age"])
    assert (some.rows.numbers, dict(some.rows.categories)) == ((), {"work": 4})
    assert some.rows.left_out["gain"] == "not named"
    with pytest.raises(DataError, match="no column 'wrk'.*Did you mean work"):
        scan(people, task=MEASURED, text_columns=["wrk"])
    with pytest.raises(DataError, match="the target 'id' holds identifiers"):
        scan(people, task=MEASURED, text_columns=["id"])


def test_a_target_is_found_by_its_name(tmp_path):
    rows = [[i % 3, i / 7, "x" if i % 2 else "y"] for i in range(60)]
    found = scan(written(tmp_path / "t.csv", ["label", "size", "kind"], rows), task=CLASSES)
    assert found.rows.target == "label"
    assert not any(line.warning for line in found.first_lines)  # its name says it


def test_parquet_and_json_are_tables_too(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = {"a": [0.5 * i for i in range(40)], "b": [i % 2 == 0 for i in range(40)]}
    table["price"] = [i**1.5 for i in range(40)]
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    found = scan(tmp_path / "t.parquet", task=MEASURED)
    assert (found.rows.numbers, found.rows.categories) == (("a",), {"b": 2})
    assert (found.rows.target, found.rows.classes) == ("price", None)


def test_holes_and_rows_without_a_target_are_said(tmp_path):
    rows = [["" if i % 5 == 0 else i, i % 7, "" if i % 10 == 0 else i / 3] for i in range(50)]
    found = scan(written(tmp_path / "t.csv", ["a", "b", "y"], rows), task=MEASURED)
    said = [line for line in found.first_lines if line.warning]
    assert any("10.0% of the rows have no 'y'" in line.text for line in said)
    assert any("cells are missing in 'a'" in line.text for line in found.first_lines)


def test_a_table_of_texts_is_refused_in_one_line(tmp_path):
    path = tmp_path / "t.csv"
    written(path, ["id", "text"], [[i, f"this is text number {i} of all"] for i in range(50)])
    with pytest.raises(DataError, match="no column holds numbers or categories") as error:
        scan(path, task=CLASSES)
    assert "\n" not in str(error.value)


def hours(count):
    return [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00:00" for i in range(count)]


def test_long_series_are_told_apart(tmp_path):
    rows = [[s, t, i * 0.5] for s, n in (("a", 30), ("b", 50)) for i, t in enumerate(hours(n))]
    found = scan(written(tmp_path / "l.csv", ["id", "timestamp", "value"], rows), task=SERIES)
    assert (found.series.layout, found.series.value) == ("long", "value")
    assert sorted(found.series.lengths) == [30, 50]
    assert "2 series, told apart by 'id', of 30 to 50 steps" in found.first_lines[0].text


def test_several_columns_tell_series_apart_together(tmp_path):
    rows = [
        [n, t, store, item, 1.5 * item + n]
        for store in (1, 2)
        for item in range(5)
        for n, t in enumerate(hours(24))
    ]
    rows = [[i, *row[1:]] for i, row in enumerate(rows)]  # a number of the row tells nothing
    header = ["id", "date", "store", "item", "sales"]
    found = scan(written(tmp_path / "s.csv", header, rows), task=SERIES)
    assert found.series.roles["series"] == ("store", "item")
    assert (len(found.series.lengths), found.series.values) == (10, ("sales",))


def test_a_column_a_series_and_a_row_a_series(tmp_path):
    wide = written(
        tmp_path / "w.csv",
        ["date", "a", "b", "OT"],
        [[t, 1.5, i % 9, i / 2] for i, t in enumerate(hours(48))],
    )
    found = scan(wide, task=SERIES).series
    assert (found.layout, found.value, list(found.lengths)) == ("wide", "OT", [48, 48])
    m4 = written(
        tmp_path / "m.csv",
        ["name", *(f"V{i}" for i in range(20))],
        [[f"Y{r}", *(r + i if i < 10 + r else "" for i in range(20))] for r in range(30)],
    )
    found = scan(m4, task=SERIES).series
    assert (found.layout, len(found.lengths), int(found.lengths[0])) == ("rows", 30, 10)


def test_steps_without_times_are_said(tmp_path):
    path = written(tmp_path / "n.csv", ["load"], [[i / 3] for i in range(30)])
    found = scan(path, task=SERIES)
    assert any("no column holds times" in line.text and line.warning for line in found.first_lines)


def test_a_table_without_numbers_is_no_series(tmp_path):
    path = written(tmp_path / "n.csv", ["date", "word"], [[t, "a"] for t in hours(30)])
    with pytest.raises(DataError, match="no column holds the values of a series"):
        scan(path, task=SERIES)


CELL = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=True),
    st.sampled_from(["", "a", "b c", "2024-01-01", "nan", "1,5"]),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"x": CELL, "y": CELL}), min_size=1, max_size=30))
def test_any_column_is_of_a_kind_and_counts_its_cells(records):
    for path, cells in columns_of(records).items():
        assert cells.kind and cells.path == path
        assert 0 <= cells.missing <= len(records)
        assert cells.distinct <= len(records) - cells.missing


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_long_lengths_sum_to_the_rows(lengths):
    records = [
        {"id": f"s{s}", "timestamp": f"2024-01-{t + 1:02d}", "value": 0.5 * t + s}
        for s, n in enumerate(lengths)
        for t in range(n)
    ]
    if len({r["value"] for r in records}) < 2:
        return  # one value alone is no series
    found = series_of(records, None, "t.csv", len(records))
    assert int(np.sum(found.lengths)) == len(records)
