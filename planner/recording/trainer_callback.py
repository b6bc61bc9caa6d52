"""A callback that records the runs of ``transformers.Trainer``, and so of TRL's trainers, into the
ledger::

    trainer = Trainer(model, args, train_dataset=data, callbacks=[PlannerCallback()])

Evaluation, saving and logging are left out of the step times. It costs some microseconds a step and
waits for nothing.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner.ledger import model_setup
from planner.libraries import import_library
from planner.recording.outlook import planned_run
from planner.recording.recorder import BrokenOff, Recording, Then
from planner.recording.trainer_forecast import TrainerForecast

_log = logging.getLogger("planner")
_TrainerCallback = import_library("transformers", "recording a Trainer's runs").TrainerCallback

#: Names of a model's inputs whose second dimension is a length in tokens; the first found counts.
LENGTHS = ("input_ids", "inputs_embeds", "input_values", "input_features")
TARGETS = ("decoder_input_ids", "labels")


class InputShapes:
    """Samples and lengths of the batches that enter a model in training, by a hook: shapes only,
    nothing is read or waited for."""

    def __init__(self) -> None:
        self.samples = self.tokens = self.target_tokens = self.passes = 0
        self.image_size: int | None = None
        self.unit = "tokens"

    def see(self, inputs: Mapping[str, Any]) -> None:
        self.passes += 1
        for name in LENGTHS:
            value = inputs.get(name)
            if value is not None:
                self.samples += value.shape[0]
                self.tokens += value.shape[0] * value.shape[1 if name != "input_features" else -1]
                self.unit = "tokens" if name in LENGTHS[:2] else "frames"
                break
        else:
            value = inputs.get("pixel_values")
            if value is not None:
                self.samples += value.shape[0]
                self.image_size = value.shape[-1]
        self._see_target(inputs)

    def _see_target(self, inputs: Mapping[str, Any]) -> None:
        value = next((inputs[name] for name in TARGETS if inputs.get(name) is not None), None)
        if value is not None and value.dim() == 2:
            self.target_tokens += value.shape[0] * value.shape[1]

    def setup(self, encoder_decoder: bool) -> dict[str, Any]:
        """Mean padded lengths, by the names of a record's ``setup``."""
        found: dict[str, Any] = {"image_size": self.image_size}
        if self.samples and self.tokens:
            name = "sequence_length" if self.unit == "tokens" else "input_frames"
            found[name] = round(self.tokens / self.samples)
        if self.samples and self.target_tokens and encoder_decoder:
            found["target_length"] = round(self.target_tokens / self.samples)
        return model_setup.without_unknown(found)


class PlannerCallback(_TrainerCallback):
    """Records each ``train()`` as one run.

    ``question``: a ``planner.Question`` or a dict of its fields, whose estimate is then kept beside
    the measurement. ``ledger``: its file, by default the user's own. ``then``: called with each
    record, such as ``planner.log_to_wandb``. ``known``: what was run, by the names of a record's
    ``setup``, over what is found out. Of many processes the first writes. A
    run that ends by an exception is recorded when the next begins or the program ends.

    With a ``plan`` (the ``plan.json`` of ``planner recipe``), ``usd_per_hour`` (of all devices) or
    ``max_usd`` it also forecasts the hours and dollars at the run's end from its first steps on,
    warns once where the plan's 90th percentile will be passed, and stops the run, with a checkpoint
    saved, before ``max_usd`` are passed. ``begun``: ``time.perf_counter()`` when the program began,
    ``say``: gets each line; by default the logger's warnings.
    """

    def __init__(
        self,
        question: Any = None,
        ledger: Path | str | None = None,
        *,
        with_estimate: bool = True,
        reset_peak: bool = True,
        then: Then | None = None,
        plan: Any = None,
        usd_per_hour: float | None = None,
        max_usd: float | None = None,
        begun: float | None = None,
        say: Callable[[str], object] | None = None,
        **known: Any,
    ) -> None:
        self.question, self.ledger, self.known = question, ledger, known
        self.with_estimate, self.reset_peak, self.then = with_estimate, reset_peak, then
        asked = (plan, usd_per_hour, max_usd)
        self.forecast = TrainerForecast(
            plan=planned_run(plan), usd_per_hour=usd_per_hour, max_usd=max_usd, begun=begun, say=say
        )
        self.forecasts = any(value is not None for value in asked)
        self.recording: Recording | None = None
        self.record = None  # the last one written
        self._hooks: list[Any] = []

    # ------------------------------------------------------------ the Trainer's events

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        optimizer: Any = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        if self.recording is not None:  # the one before broke off
            self._finish(BrokenOff())
        if self.forecasts:
            self.forecast.begin(args, state)
        if not state.is_world_process_zero:
            return
        self._shapes, self._encoder_decoder = (
            InputShapes(),
            bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False)),
        )
        self._state, self._world, self._seen_before = (
            state,
            max(1, args.world_size),
            state.num_input_tokens_seen,
        )
        self.recording = Recording(
            self.question,
            self.ledger,
            device=getattr(args, "device", None),
            with_estimate=self.with_estimate,
            reset_peak=self.reset_peak,
            then=self.then,
            source="transformers.Trainer",
        )
        self._quietly(self._set_up, self.recording, args, model, optimizer, train_dataloader)
        atexit.register(self._broken_off)
        self.recording.start()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.recording is not None:
            self.recording.data()

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.recording is not None and self._hooks:
            self.recording.backward()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.recording is not None and self._hooks:
            self.recording.backward()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.recording is not None:
            self.recording.step()
        stopped = self.forecast.step(args, state, control)
        if stopped is not None and self.recording is not None:
            self.recording.note(stopped)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.recording is not None:
            # said before on_evaluate
            self.recording.skip(paused=any(name.startswith("eval") for name in logs or ()))
            loss = (logs or {}).get("loss")
            if isinstance(loss, int | float):
                self.recording.loss(loss)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._paused("evaluation")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._paused("saving")

    def on_predict(self, args: Any, state: Any, control: Any, *more: Any, **kwargs: Any) -> None:
        self._paused("prediction")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.recording is not None:
            self._finish(None)

    # ------------------------------------------------------------ inside

    def _paused(self, name: str) -> None:
        if self.recording is not None:
            self.recording.skip(paused=True)
        self.forecast.paused(name)

    def _set_up(
        self, recording: Recording, args: Any, model: Any, optimizer: Any, loader: Any
    ) -> None:
        found, notes = model_setup.setup_of_model(model)
        found = model_setup.in_words_of(self.question, found)
        named = (
            model_setup.optimizer_of(optimizer)
            if optimizer is not None
            else model_setup.optimizer_named(_value(args.optim))
        )
        more = model_setup.without_unknown(
            {"optimizer": named, "samples": _length(getattr(loader, "dataset", None))}
        )
        recording.set(**{**setup_of_arguments(args, found), **more, **self.known})
        recording.notes += notes
        if not getattr(args, "torch_compile", False):  # a hook would be compiled into the model
            self._hooks = [
                model.register_forward_pre_hook(self._enters, with_kwargs=True),
                model.register_forward_hook(self._leaves),
            ]

    def _enters(self, module: Any, _: Any, inputs: Mapping[str, Any]) -> None:
        if module.training and self.recording is not None:
            try:
                self._shapes.see(inputs)
            except (AttributeError, IndexError, TypeError):  # an input that is no tensor
                pass

    def _leaves(self, module: Any, *_: Any) -> None:
        if module.training and self.recording is not None:
            self.recording.forward()

    def _count(self, recording: Recording) -> None:
        seen, state, world = self._shapes, self._state, self._world
        recording.set(**{**seen.setup(self._encoder_decoder), **self.known})
        tokens = state.num_input_tokens_seen - self._seen_before
        if seen.unit == "tokens" and seen.tokens:
            recording.add(samples=seen.samples * world, tokens=seen.tokens * world)
        elif seen.samples or tokens:
            recording.add(samples=seen.samples * world, tokens=tokens)
        else:
            recording.note("samples and tokens are not known: a compiled model has no hooks")

    def _broken_off(self) -> None:
        if self.recording is not None:
            self._finish(getattr(sys, "last_value", None) or BrokenOff())

    def _finish(self, error: BaseException | None) -> None:
        recording, self.recording = self.recording, None
        if recording is None:
            return
        self._quietly(self._count, recording)
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        atexit.unregister(self._broken_off)
        if error is not None:
            recording.with_estimate = False  # the program is on its way out
        recording.finish(error)
        self.record = recording.record

    def _quietly(self, call: Any, *args: Any) -> None:
        try:
            call(*args)
        except Exception as error:
            _log.warning(
                "planner: the run is recorded without some of its setup: %s",
                " ".join(f"{type(error).__name__}: {error}".split())[:300],
            )


def setup_of_arguments(args: Any, model: Mapping[str, Any]) -> dict[str, Any]:
    """TrainingArguments and what ``setup_of_model`` found, by the names of a record's ``setup``."""
    found = dict(model)
    weights = found.pop("precision_of_weights", None)
    autocast = "bf16" if args.bf16 else "fp16" if args.fp16 else None
    tf32 = bool(args.tf32) if args.tf32 is not None else model_setup.tf32_allowed()
    found |= model_setup.held_by("transformers", lambda name: getattr(args, name, None))
    found |= {
        "precision": model_setup.precision_of(weights, autocast, tf32),
        "compile": bool(found.get("compile")),
        "gpus": args.world_size * max(1, args.n_gpu),
        "parallel": parallel_of(args),
        "epochs": found.get("epochs") if args.max_steps <= 0 else None,
        "gradient_checkpointing": "full"
        if args.gradient_checkpointing
        else found.get("gradient_checkpointing") or "none",
    }
    return model_setup.without_unknown(found)


def parallel_of(args: Any) -> str | None:
    """How several devices share the work; None for one device."""
    if args.world_size <= 1:
        return "data_parallel" if args.n_gpu > 1 else None
    if getattr(args, "deepspeed", None):
        return "deepspeed"
    return "fsdp" if getattr(args, "fsdp", None) else "ddp"


def _length(data: Any) -> int | None:
    """How many samples a dataset holds, where it knows."""
    try:
        return len(data) or None
    except TypeError:
        return None


def _value(name: Any) -> str | None:
    return getattr(name, "value", name)
