"""The version of the program, for those inside who write it into files."""

__version__ = "0.1.0"
