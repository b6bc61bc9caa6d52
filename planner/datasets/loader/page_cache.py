"""The system's page cache: asked to forget files, so that reading them again is reading the
disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def forget_pages(files: Sequence[Path]) -> bool:
    """Ask the system to drop these files from its page cache; False where it has no such call.
    Needs no rights: only clean pages that no one maps go (posix_fadvise(2), POSIX_FADV_DONTNEED),
    so it is a request, not a certainty."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        try:
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            return False
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            return False
        finally:
            os.close(handle)
    return True
