"""The budget of a document as sections of words and tables, the same for every format."""
