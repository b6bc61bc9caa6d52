"""What a trainer's own loop takes of the host beside the step: transformers' Trainer, Lightning's
and a plain loop, run for real on small models with clipping off, against the bare step.

``seconds = micro-batches × a + updates × b``: from a run that updates after every micro-batch and
one that accumulates, each less the bare step's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from planner.calibrate.host import model as encoder_model
from planner.calibrate.host.timing import host_record, one_thread
from planner.errors import MissingExtraError
from planner.libraries import import_library

if TYPE_CHECKING:
    from planner.calibrate.operations.backends import Backend

#: Micro-batches of an update in the run that accumulates.
ACCUMULATED = 8
WARM_UP = 10
#: Runs of each kind, of which the fastest counts: what disturbs a run only lengthens it.
TURNS = 3
#: Importing transformers and running its Trainer takes some ten seconds.
LEAST_SECONDS = 10.0
STEPS = 24  # micro-batches of a run while calibrating
Batch = dict[str, torch.Tensor]
Loss = Callable[[nn.Module, Batch], torch.Tensor]
Small = tuple[nn.Module, Batch, Loss]


@dataclass(frozen=True)
class Added:
    """Host seconds beyond the bare step, of a micro-batch and of an update."""

    micro_batch: float
    update: float


# ---- small models


def _encoder() -> Small:
    module, batch, loss = encoder_model.encoder()
    return module, batch(encoder_model.BATCH, encoder_model.LENGTH), loss


def _convolutions() -> Small:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Conv2d(3 if not layers else 8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    batch = {"pixel_values": torch.randn(2, 3, 16, 16), "labels": torch.zeros(2, dtype=torch.long)}

    def loss(module: nn.Module, given: Batch) -> torch.Tensor:
        return nn.functional.cross_entropy(module(given["pixel_values"]), given["labels"])

    return module, batch, loss


SMALL_MODELS: Mapping[str, Callable[[], Small]] = {
    "encoder": _encoder,
    "convolutions": _convolutions,
}


class _WithLoss(nn.Module):
    """A model that returns its loss, as transformers' do; ``**kwargs`` would make the trainer count
    the batch's targets, as it does for language models."""

    def __init__(self, module: nn.Module, loss: Loss, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.loss, self.names = module, loss, names

    def forward(self, **given: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": self.loss(self.module, {name: given[name] for name in self.names})}


class _Ready(torch.utils.data.Dataset[Batch]):
    """``count`` batches of one sample each that lie ready: the loader's work is another part."""

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Batch:
        return self.batch


def _only(batches: list[Batch]) -> Batch:
    return batches[0]


# ---- the loops, each: seconds of ``steps`` micro-batches after a warm-up


def bare(small: Small, device: torch.device, steps: int, accumulated: int) -> float:
    """Forward pass, backward pass, the optimizer's step and zero_grad."""
    module, batch, loss = small
    module.to(device).train()
    given = {name: tensor.to(device) for name, tensor in batch.items()}
    optimizer = _optimizer(module)

    def run(count: int) -> None:
        for index in range(count):
            (loss(module, given) / accumulated).backward()
            if (index + 1) % accumulated == 0:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

    return _timed(run, steps, device)


def plain(small: Small, device: torch.device, steps: int, accumulated: int) -> float:
    """A loop as people write it: a DataLoader, the batch to the device, a schedule, the loss read
    every step for the progress bar."""
    module, batch, loss = small
    module.to(device).train()
    optimizer = _optimizer(module)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)

    def run(count: int) -> None:
        loader = torch.utils.data.DataLoader(_Ready(batch, count), collate_fn=_only)
        for index, found in enumerate(loader):
            given = {name: tensor.to(device) for name, tensor in found.items()}
            value = loss(module, given) / accumulated
            value.backward()
            value.item()
            if (index + 1) % accumulated == 0:
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)

    return _timed(run, steps, device)


def hugging_face(small: Small, device: torch.device, steps: int, accumulated: int) -> float:
    """transformers' Trainer with its defaults, but for clipping and reports to other services."""
    transformers = import_library("transformers", "timing a real Trainer step")
    _needed("accelerate", "hf")
    module, batch, loss = small
    clock = _Clock(device)

    class Watch(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            clock.tick(state.global_step * accumulated)

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=(steps + WARM_UP * accumulated) // accumulated,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=accumulated,
            max_grad_norm=0.0,
            optim="adamw_torch",  # the bare step's own
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=device.type == "cpu",
            remove_unused_columns=False,
        )
        trainer = transformers.Trainer(
            model=_WithLoss(module, loss, tuple(batch)),
            args=arguments,
            train_dataset=_Ready(batch, steps + WARM_UP * accumulated),
            data_collator=_only,
            callbacks=[Watch()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        clock.warm_up, clock.steps = WARM_UP * accumulated, steps
        trainer.train()
    return clock.seconds_a_step


def lightning(small: Small, device: torch.device, steps: int, accumulated: int) -> float:
    """Lightning's Trainer with its defaults, but for loggers, checkpoints and the progress bar."""
    _needed("lightning", "lightning")
    library: Any = importlib.import_module("lightning.pytorch")
    module, batch, loss = small
    clock = _Clock(device)

    class Module(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def training_step(self, given: Batch, index: int) -> torch.Tensor:
            clock.tick(index)
            return loss(self.module, given)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _optimizer(self)

    clock.warm_up, clock.steps = WARM_UP * accumulated, steps
    count = steps + WARM_UP * accumulated + accumulated
    with tempfile.TemporaryDirectory() as folder:
        trainer = library.Trainer(
            accelerator="cpu" if device.type == "cpu" else "auto",
            devices=1,
            max_epochs=1,
            accumulate_grad_batches=accumulated,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = torch.utils.data.DataLoader(_Ready(batch, count), collate_fn=_only)
        trainer.fit(Module(), loader)
    return clock.seconds_a_step


#: A trainer's name in ``profiles/stacks`` → its loop.
TRAINERS: Mapping[str, Callable[[Small, torch.device, int, int], float]] = {
    "trainer": hugging_face,
    "lightning": lightning,
    "loop": plain,
}


def added_seconds(
    trainer: str, model: str = "encoder", steps: int = 80, device: torch.device | None = None
) -> Added:
    """What a trainer takes beyond the bare step. Raises MissingExtraError where it is not
    installed."""
    device, make = device or torch.device("cpu"), SMALL_MODELS[model]
    with _quiet():
        often, seldom = (
            min(TRAINERS[trainer](make(), device, steps, each) for _ in range(TURNS))
            - min(bare(make(), device, steps, each) for _ in range(TURNS))
            for each in (1, ACCUMULATED)
        )
    # often = a + b, seldom = a + b / ACCUMULATED
    update = max(0.0, (often - seldom) / (1 - 1 / ACCUMULATED))
    return Added(micro_batch=max(0.0, often - update), update=update)


def measured_trainer(backend: Backend, *, budget_seconds: float) -> Iterator[dict[str, Any]]:
    """Records of what transformers' Trainer takes of this host, of a micro-batch and of an update;
    where it is not installed one that says so; none in less than ``LEAST_SECONDS``."""
    if budget_seconds < LEAST_SECONDS:
        return
    try:
        with one_thread(backend):
            found = added_seconds("trainer", steps=STEPS, device=torch.device(backend.device))
    except MissingExtraError as error:
        yield {
            "record": "trust",
            "what": f"no step of Hugging Face's Trainer was timed: {error}",
            "mend": "Without it the trainer's own time is that of profiles/stacks",
        }
        return
    yield host_record("trainer.micro_batch_seconds", found.micro_batch)
    yield host_record("trainer.update_seconds", found.update)


# ---- small helps


class _Clock:
    """Seconds of a micro-batch between the ticks that a trainer's own loop gives."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.warm_up, self.steps = device, 0, 1
        self.first: tuple[int, float] | None = None
        self.last: tuple[int, float] | None = None

    def tick(self, done: int) -> None:
        """``done`` micro-batches have been run."""
        if done < self.warm_up:
            return
        if self.first is None:
            _synchronise(self.device)
            self.first = (done, _now(self.device))
        elif done - self.first[0] <= self.steps:
            self.last = (done, _now(self.device))

    @property
    def seconds_a_step(self) -> float:
        if self.first is None or self.last is None:
            raise RuntimeError("the trainer's loop gave no ticks")
        return (self.last[1] - self.first[1]) / (self.last[0] - self.first[0])


def _timed(run: Callable[[int], None], steps: int, device: torch.device) -> float:
    run(WARM_UP)
    _synchronise(device)
    start = _now(device)
    run(steps)
    _synchronise(device)
    return (_now(device) - start) / steps


def _now(device: torch.device) -> float:
    """On a plain processor the time that this process computes, so that others on the machine
    count for little; beside a device the wall's, since the host waits for it."""
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def _optimizer(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=1e-5)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _needed(library: str, extra: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise MissingExtraError(library, extra, "timing a real trainer's step")


@contextmanager
def _quiet() -> Iterator[None]:
    """Trainers speak of their settings; none of it is an answer."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
