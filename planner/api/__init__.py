"""The Python face: ``estimate``, ``choose``, ``explain``, ``diff`` and ``compare`` return the same
documents as the command line, as typed objects that are dictionaries still."""
