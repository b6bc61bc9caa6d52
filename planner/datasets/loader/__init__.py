"""The input pipeline run for real: sources, stages, workers, and the rate that was measured."""
