"""The judge of whole runs: reports read, asked, answered, attributed, counted, written."""
