"""The budget report as a workbook whose totals follow its inputs, one file a group of sheets."""
