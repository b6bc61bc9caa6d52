"""What recording costs: microseconds a step of the context manager and of the Trainer's callback.

    python benchmarks/recording_overhead.py [--steps 20000] [--device cpu|cuda] [--trainer]

The marks of a loop that does nothing else, in groups of which the fastest counts, as other load
only adds. ``--trainer`` times whole steps of a real Trainer with and without the callback,
alternating, and prints both medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from planner.recording.recorder import Recording

GROUP = 500


def marks_microseconds(steps: int, every_mark: bool, device: str) -> tuple[float, float]:
    """(fastest, median) microseconds a step over groups of steps."""
    if device == "cuda":
        import torch

        torch.zeros(1, device="cuda")
    with (
        tempfile.TemporaryDirectory() as folder,
        Recording(None, Path(folder) / "runs.sqlite", device=device) as run,
    ):
        groups = []
        for _ in range(max(1, steps // GROUP)):
            begin = time.perf_counter()
            for _ in range(GROUP):
                if every_mark:
                    run.data()
                    run.forward()
                    run.backward()
                run.step(samples=8, tokens=4096)
            groups.append((time.perf_counter() - begin) / GROUP * 1e6)
        run.watch.synchronise()
    return min(groups), statistics.median(groups)


def trainer_microseconds(steps: int, rounds: int, device: str) -> tuple[float, float]:
    """Median microseconds of a Trainer's step without and with the callback, in turn, of a model
    with next to no work."""
    from planner.libraries import import_library

    transformers = import_library("transformers", "the benchmark")
    import torch

    from planner.recording.trainer_callback import PlannerCallback

    torch.set_num_threads(1)
    found: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * rounds):
        recorded = number % 2 == 1
        with tempfile.TemporaryDirectory() as folder:
            callback = PlannerCallback(None, Path(folder) / "runs.sqlite", with_estimate=False)
            found[recorded].append(
                _train(transformers, torch, folder, steps, device, [callback] if recorded else [])
            )
    return statistics.median(found[False]), statistics.median(found[True])


def _train(transformers, torch, folder: str, steps: int, device: str, callbacks: list) -> float:
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16, n_positions=16)
    )
    data = [
        {"input_ids": torch.zeros(8, dtype=torch.long), "labels": torch.zeros(8, dtype=torch.long)}
    ] * (2 * steps)
    arguments = transformers.TrainingArguments(
        folder,
        max_steps=steps,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=device == "cpu",
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=callbacks)
    trainer.remove_callback(transformers.PrinterCallback)
    moments: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            moments.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    kept = moments[steps // 10 :]  # the first are warming up
    return statistics.median(after - before for before, after in zip(kept, kept[1:])) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--trainer", action="store_true", help="also time whole steps of a real Trainer"
    )
    parser.add_argument("--trainer-steps", type=int, default=200)
    arguments = parser.parse_args()
    for title, every in (("run.step() alone", False), ("data, forward, backward, step", True)):
        fastest, median = marks_microseconds(arguments.steps, every, arguments.device)
        print(f"{title:32s} {fastest:8.2f} µs a step (median {median:.2f})")
    if arguments.trainer:
        without, with_ = trainer_microseconds(arguments.trainer_steps, 5, arguments.device)
        print(f"{'a Trainer without the callback':32s} {without:8.1f} µs a step")
        print(f"{'and with it':32s} {with_:8.1f} µs a step ({with_ - without:+.1f})")


if __name__ == "__main__":
    main()
