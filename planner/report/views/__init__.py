"""A document becomes tables and sentences, one file a document."""
