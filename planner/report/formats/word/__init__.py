"""Pieces of the Word document: its page and styles, and the blocks that sections are made of."""
