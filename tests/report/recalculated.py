"""A workbook worked out anew: by a small evaluator of the formulas that ours hold (+ − × ÷, SUM,
names of cells), and by LibreOffice."""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import openpyxl

_RANGE = re.compile(r"\b([A-Z]{1,2})(\d+):([A-Z]{1,2})(\d+)\b")
_CELL = re.compile(r"(?<![\w.])([A-Z]{1,2})(\d+)\b(?!\()")
_NAME = re.compile(r"(?<![\w.\"])([A-Za-z][A-Za-z_]{4,}|Epochs|Trials)\b(?!\()")


class Evaluator:
    """Values of a workbook by its formulas; ``changed``: names of inputs with other values."""

    def __init__(self, data: bytes, **changed: float):
        self.book = openpyxl.load_workbook(io.BytesIO(data))
        self.names = {
            name: place.attr_text.replace("$", "").split("!")
            for name, place in self.book.defined_names.items()
        }
        for name, value in changed.items():
            sheet, cell = self.names[name]
            assert not str(self.book[sheet][cell].value).startswith("="), f"{name} is no input"
            self.book[sheet][cell].value = value
        self._known: dict[tuple[str, str], float] = {}

    def name(self, name: str) -> float:
        return self.value(*self.names[name])

    def value(self, sheet: str, cell: str) -> float:
        if (sheet, cell) not in self._known:
            self._known[sheet, cell] = self._worked_out(sheet, self.book[sheet][cell])
        return self._known[sheet, cell]

    def _worked_out(self, sheet: str, cell) -> float:
        if cell.data_type != "f":
            return cell.value if isinstance(cell.value, (int, float)) else 0.0
        text = cell.value.lstrip("=")
        text = _RANGE.sub(lambda hit: self._range(sheet, *hit.groups()), text)
        text = _NAME.sub(lambda hit: repr(self.name(hit[1])), text)
        text = _CELL.sub(lambda hit: repr(self.value(sheet, hit[0])), text)
        assert re.fullmatch(r"[-+*/().,\d\seESUM\[\]]*", text), f"not understood: {text}"
        return eval(text, {"__builtins__": {}}, {"SUM": sum})

    def _range(self, sheet: str, left: str, first: str, right: str, last: str) -> str:
        assert left == right
        rows = range(int(first), int(last) + 1)
        return repr([self.value(sheet, f"{left}{row}") for row in rows])

    def formulas(self):
        """(sheet, cell, text) of every formula."""
        for sheet in self.book:
            for row in sheet.iter_rows():
                for cell in row:
                    if cell.data_type == "f":
                        yield sheet.title, cell.coordinate, cell.value


def cached(data: bytes):
    """The values that are stored beside the formulas."""
    return openpyxl.load_workbook(io.BytesIO(data), data_only=True)


def by_libreoffice(data: bytes, folder, **changed: float):
    """The workbook after LibreOffice has worked it out, inputs changed by their names; values
    alone. openpyxl stores no values, so that all are LibreOffice's."""
    evaluator = Evaluator(data, **changed)
    asked = folder / "asked.xlsx"
    evaluator.book.save(asked)
    out = folder / "out"
    program = shutil.which("soffice")
    assert program is not None
    subprocess.run(
        [
            program,
            f"-env:UserInstallation=file://{folder}/profile",
            "--headless",
            *("--convert-to", "xlsx", "--outdir", str(out), str(asked)),
        ],
        check=True,
        capture_output=True,
        timeout=180,
    )
    return openpyxl.load_workbook(out / "asked.xlsx", data_only=True), evaluator.names
