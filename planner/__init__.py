"""What will this training cost, and which way should I do it?

>>> from planner import estimate
>>> answer = estimate("gpt2", samples=1000, tokens_per_sample=200, gpu="l4", strategy=["lora"])
>>> answer.best.strategy
'lora'
"""

import importlib
from typing import TYPE_CHECKING, Any

from planner.version import __version__

if TYPE_CHECKING:
    from planner.api.answer import Answer
    from planner.api.asking import choose, estimate
    from planner.api.comparing import Comparison, compare
    from planner.api.decision import Decision
    from planner.api.explained import Difference, Explanation
    from planner.api.explaining import diff, explain
    from planner.api.trackers import log_to_mlflow, log_to_wandb
    from planner.errors import PlannerError
    from planner.question import Question
    from planner.recording.forecast import Forecast
    from planner.recording.recorder import record

__all__ = [
    "Answer",
    "Comparison",
    "Decision",
    "Difference",
    "Explanation",
    "Forecast",
    "PlannerError",
    "Question",
    "choose",
    "compare",
    "diff",
    "estimate",
    "explain",
    "log_to_mlflow",
    "log_to_wandb",
    "record",
    "__version__",
]

#: name → where it is. Imported on first use: `import planner` alone stays free of pydantic and
#: numpy.
_HOMES = {
    "Answer": "planner.api.answer",
    "Comparison": "planner.api.comparing",
    "Decision": "planner.api.decision",
    "Difference": "planner.api.explained",
    "Explanation": "planner.api.explained",
    "Forecast": "planner.recording.forecast",
    "PlannerError": "planner.errors",
    "Question": "planner.question",
    "choose": "planner.api.asking",
    "compare": "planner.api.comparing",
    "diff": "planner.api.explaining",
    "estimate": "planner.api.asking",
    "explain": "planner.api.explaining",
    "log_to_mlflow": "planner.api.trackers",
    "log_to_wandb": "planner.api.trackers",
    "record": "planner.recording.recorder",
}


#: Folders that are called as a function is. Python binds a folder's name here when it loads the
#: folder, and never again: loaded now (each is a docstring), the names are the functions' after it.
for _folder in ("choose", "compare", "diff", "explain"):
    importlib.import_module(f"planner.{_folder}")
    del globals()[_folder]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
