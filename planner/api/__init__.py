"""The Python face: ``estimate`` and ``choose`` return the same documents as the command line, as
typed objects that are dictionaries still."""
