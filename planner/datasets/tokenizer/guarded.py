"""Processes that run what strangers wrote are held to a limit of memory from outside, too."""

from __future__ import annotations

import subprocess

POLL_SECONDS = 0.05


def end_when_larger(process: subprocess.Popen[bytes], most: int) -> None:
    """Not every system holds a process to a limit of memory: one that grows past ``most`` bytes is
    ended."""
    import psutil

    try:
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            if seen.memory_info().rss > most:
                process.kill()
                return
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    except psutil.Error:  # it has ended
        return
