"""Past runs, out of the logs that others wrote, as records of the ledger. One file a format;
nothing is invented: what a log does not say is left out, and what was derived is said in the
record's notes."""
