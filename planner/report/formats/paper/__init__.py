"""What the reports on paper (PDF, Word) share: their sections as tables and sentences."""
