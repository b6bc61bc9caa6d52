"""Parts of a page, as `report/views/explaining/part.py` has them, on a screen and in files."""
