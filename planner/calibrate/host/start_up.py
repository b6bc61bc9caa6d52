"""What a training script takes before its first step and after its last: a process of its own that
imports what scripts of a trainer import, opens data and builds a model of next to nothing, trains
one step and ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planner.calibrate.host.writing import measure_writing
from planner.calibrate.operations.backends import Backend

#: Fact ``import_seconds.<trainer>``.
IMPORTS = "import_seconds"
#: The first process of a trainer may find its files on a disk, as a fresh machine does; the others
#: do not.
ROUNDS = 3
LEAST_SECONDS = 4.0

_BEGIN = """
import importlib.util, json, sys
import torch
from planner.libraries import import_library
import_library("transformers", "timing its start")
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification
device, folder = sys.argv[1:]
if importlib.util.find_spec("datasets"):
    import datasets
    datasets.disable_progress_bars()
    for name in ("train", "held_out"):
        with open(f"{folder}/{name}.jsonl", "w") as file:
            file.write(json.dumps({"text": "a"}) + "\\n")
    files = {name: f"{folder}/{name}.jsonl" for name in ("train", "held_out")}
    opened = datasets.load_dataset("json", data_files=files, cache_dir=f"{folder}/cache")
    opened.map(lambda records: {"ids": [[1]] * len(records["text"])}, batched=True)
config = BertConfig(
    vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16
)
model = BertForSequenceClassification(config)
ids, labels = torch.ones(2, 8, dtype=torch.long), torch.zeros(2, dtype=torch.long)
"""
_LOOP = """
from transformers import get_linear_schedule_with_warmup
model.to(device)
optimizer = torch.optim.AdamW(model.parameters())
schedule = get_linear_schedule_with_warmup(optimizer, 0, 1)
for batch in torch.utils.data.DataLoader([(ids[0], labels[0])], batch_size=1):
    model(input_ids=batch[0].to(device), labels=batch[1].to(device)).loss.backward()
    optimizer.step()
    schedule.step()
"""
_TRAINER = """
from transformers import Trainer, TrainingArguments
arguments = TrainingArguments(
    output_dir=folder, max_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
    use_cpu=device == "cpu",
)
samples = [{"input_ids": ids[0], "labels": labels[0]}]
Trainer(model=model, args=arguments, train_dataset=samples).train()
"""
#: By the names of ``profiles/stacks``.
PROGRAMS: Mapping[str, str] = {"trainer": _BEGIN + _TRAINER, "loop": _BEGIN + _LOOP}


def measure_start_up(backend: Backend, *, budget_seconds: float) -> Iterator[dict[str, Any]]:
    """How fast a file is written, and facts ``import_seconds.<trainer>``: the fastest of the rounds
    that the budget (seconds of wall clock) holds, with all of them as samples: what disturbs a
    process only lengthens it. None where it fails, or does not end in time."""
    end = time.monotonic() + budget_seconds
    yield from measure_writing()
    samples: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            left = end - time.monotonic()
            if left < max([LEAST_SECONDS, *samples[name][-1:]]):
                continue
            seconds = process_seconds(program, [str(backend.device)], left)
            if seconds is not None:
                samples[name].append(seconds)
    for name, found in samples.items():
        if found:
            yield {
                "record": "fact",
                "name": f"{IMPORTS}.{name}",
                "value": min(found),
                "unit": "s",
                "samples": found,
            }


def process_seconds(program: str, words: list[str], timeout: float) -> float | None:
    """Wall clock of a Python of its own from its start to its end; None where it fails or is not
    done in ``timeout`` seconds. ``program`` gets ``words`` and an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-c", program, *words, str(Path(folder))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except (subprocess.TimeoutExpired, OSError):
            return None
        seconds = time.perf_counter() - began
    return seconds if done.returncode == 0 else None
