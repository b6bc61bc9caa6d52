"""A Trainer's run as a forecast sees it: how many steps, evaluations and savings it makes, and how
it is stopped, on all of its processes at once."""

from __future__ import annotations

import math
from typing import Any

from planner.recording.forecast import Forecast
from planner.recording.run_record import distributed

#: Steps between two looks at what the first process says, of many processes: each look makes all of
#: them wait for their devices.
LOOK_EVERY = 10


class TrainerForecast:
    """``options``: those of ``Forecast`` but for what the Trainer knows. Raises QuestionError for
    what cannot be kept, before anything is loaded."""

    def __init__(self, **options: Any) -> None:
        Forecast(1, **options)
        self.options = options
        self.forecast: Forecast | None = None

    def begin(self, args: Any, state: Any) -> None:
        options: dict[str, Any] = dict(self.options)
        if not state.is_world_process_zero:
            options["say"] = _nothing
        self.forecast = Forecast(
            state.max_steps,
            done=state.global_step,
            to_come=to_come(args, state),
            stops_every=LOOK_EVERY if _processes() > 1 else 1,
            **options,
        )

    def step(self, args: Any, state: Any, control: Any) -> str | None:
        """A step is over. The line that the run is stopped with, at the step that stops it."""
        if self.forecast is None or self.forecast.stopped and control.should_training_stop:
            return None
        stop = self.forecast.step()
        if self.forecast.max_usd is not None and _processes() > 1:
            looks = state.global_step % LOOK_EVERY == 0
            stop = looks and _as_the_first_says(stop, args.device)
        if not stop:
            return None
        control.should_save, control.should_training_stop = True, True
        return self.forecast.stopped

    def paused(self, name: str) -> None:
        if self.forecast is not None:
            self.forecast.paused(name)


def to_come(args: Any, state: Any) -> dict[str, int]:
    """Evaluations and savings of a run, from where it begins."""
    found = {
        "evaluation": _times(args.eval_strategy, state.eval_steps, state),
        "saving": _times(args.save_strategy, state.save_steps, state),
    }
    return {name: count for name, count in found.items() if count > 0}


def _times(strategy: Any, every: int | None, state: Any) -> int:
    named = getattr(strategy, "value", strategy)
    if named == "steps" and every:
        return state.max_steps // every - state.global_step // every
    if named == "epoch":
        left = state.num_train_epochs * (1 - state.global_step / max(1, state.max_steps))
        return math.ceil(left)
    return 0


def _processes() -> int:
    group = distributed()
    return group.get_world_size() if group else 1


def _as_the_first_says(stop: bool, device: Any) -> bool:
    """Of many processes the first decides: one that stopped alone would leave the others
    waiting."""
    import torch

    said = torch.tensor([int(stop)], device=device)
    torch.distributed.broadcast(said, src=0)
    return bool(said.item())


def _nothing(line: str) -> None:
    """Of many processes one speaks."""
