"""Names of Ultralytics' detectors, and what has to be said of them: there are several YOLOs."""

from __future__ import annotations

import re

from planner.first_lines import FirstLine

#: Of Ultralytics' code and weights.
LICENCE = "AGPL-3.0"
#: Series and sizes.
SERIES = re.compile(r"yolo(v\d+|\d+)[ntsmblxce]")


def first_lines(architecture: str) -> tuple[FirstLine, ...]:
    """Which YOLO it is, and under which licence."""
    text = (
        f"{architecture} as Ultralytics builds it, under {LICENCE} or its paid licence; YOLOX and "
        "YOLOS (hustvl/yolos-tiny) are Apache-2.0"
    )
    task = "trained as object_detection (Ultralytics' own loss)"
    return FirstLine("model", text, warning=True), FirstLine("task", task)
