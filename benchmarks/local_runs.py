"""Runs on this machine: small models of every family are really trained, and the planner's three
bases set beside the clock.

Each run is visited twice, all of them once and then all again, with the predictions in between:
other load on the machine drifts, and the distance between the visits says how far a measurement can
be trusted. Two that disagree get a third.
"""

from __future__ import annotations

import csv
import io
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.validate.architectures import resolvable
from planner.validate.cases import Case
from planner.validate.judge import recipe_of_case

BASES = ("datasheet", "calibrated", "exact")
TABLE = "local"
SCATTERED = 0.1


def _run(
    name: str,
    model: str,
    task: str,
    strategy: str = "fine_tune",
    micro_batch: int = 4,
    precision: str = "fp32",
    optimizer: str = "adamw",
    **more: Any,
) -> Case:
    return Case(
        id=name,
        table=TABLE,
        citation="this machine",
        model=model,
        task=task,
        strategy=strategy,
        gpu="local",
        micro_batch=micro_batch,
        precision=precision,
        optimizer=optimizer,
        **more,
    )


_LLAMA = dict(
    kind="llama",
    hidden_size=384,
    intermediate_size=1024,
    num_hidden_layers=6,
    num_attention_heads=6,
    num_key_value_heads=2,
    vocab_size=8192,
)
_GPT2 = dict(kind="gpt2", n_embd=320, n_layer=4, n_head=5, vocab_size=6000, n_positions=256)
_BERT = dict(
    kind="bert",
    hidden_size=256,
    intermediate_size=1024,
    num_hidden_layers=4,
    num_attention_heads=4,
    vocab_size=30522,
)
_DISTILBERT = dict(
    kind="distilbert", dim=384, hidden_dim=1536, n_layers=4, n_heads=6, vocab_size=12000
)
_T5 = dict(kind="t5", d_model=256, d_kv=32, d_ff=1024, num_layers=3, num_heads=8, vocab_size=16000)
_WAV2VEC2 = dict(
    kind="wav2vec2",
    hidden_size=192,
    intermediate_size=768,
    num_hidden_layers=4,
    num_attention_heads=4,
    conv_dim=[128] * 7,
    num_conv_pos_embeddings=64,
    num_conv_pos_embedding_groups=8,
    classifier_proj_size=128,
)
_WHISPER = dict(
    kind="whisper",
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=1,
    decoder_start_token_id=2,
    d_model=256,
    encoder_layers=3,
    decoder_layers=3,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=1024,
    decoder_ffn_dim=1024,
    max_source_positions=400,
    max_target_positions=128,
    vocab_size=20000,
    num_mel_bins=80,
)
_TIMM = dict(kind="timm")
_TEXT, _IMAGE = "text_classification", "image_classification"

#: Steps of 20 to 800 ms on two cores of a laptop. No size here is one that the calibration's suites
#: were chosen for.
PROCESSOR_RUNS: tuple[Case, ...] = (
    _run(
        "decoder-full",
        "small-llama",
        "causal_lm",
        micro_batch=2,
        sequence_length=120,
        architecture=_LLAMA,
    ),
    _run(
        "decoder-lora",
        "small-llama",
        "causal_lm",
        "lora",
        2,
        sequence_length=120,
        architecture=_LLAMA,
        lora_rank=8,
        lora_dropout=0.0,
    ),
    _run(
        "decoder-bf16-full",
        "small-llama",
        "causal_lm",
        micro_batch=2,
        precision="bf16",
        sequence_length=120,
        architecture=_LLAMA,
    ),
    _run("gpt2-full", "small-gpt2", "causal_lm", sequence_length=72, architecture=_GPT2),
    _run(
        "encoder-full",
        "bert-mini",
        _TEXT,
        micro_batch=8,
        sequence_length=60,
        architecture=_BERT,
        classes=3,
    ),
    _run(
        "encoder-lora",
        "bert-mini",
        _TEXT,
        "lora",
        8,
        sequence_length=60,
        architecture=_BERT,
        classes=3,
        lora_rank=8,
        lora_dropout=0.05,
    ),
    _run(
        "encoder-frozen",
        "bert-mini",
        _TEXT,
        "feature_extraction",
        8,
        sequence_length=60,
        architecture=_BERT,
        classes=3,
    ),
    _run(
        "encoder-amp-full",
        "bert-mini",
        _TEXT,
        micro_batch=8,
        precision="amp_bf16",
        sequence_length=60,
        architecture=_BERT,
        classes=3,
    ),
    _run(
        "encoder-partial",
        "small-distilbert",
        _TEXT,
        "partial_fine_tune",
        4,
        sequence_length=90,
        architecture=_DISTILBERT,
        classes=2,
        unfrozen_blocks=1,
    ),
    _run(
        "encoder-decoder-full",
        "small-t5",
        "seq2seq_lm",
        sequence_length=60,
        target_length=20,
        architecture=_T5,
    ),
    _run("vit-full", "vit_tiny_patch16_224", _IMAGE, architecture=_TIMM, classes=12),
    _run(
        "vit-lora",
        "vit_tiny_patch16_224",
        _IMAGE,
        "lora",
        4,
        architecture=_TIMM,
        classes=12,
        lora_rank=8,
        lora_dropout=0.0,
    ),
    _run("resnet-full", "torchvision:resnet18", _IMAGE, optimizer="sgd_momentum", classes=12),
    _run("resnet-frozen", "torchvision:resnet18", _IMAGE, "feature_extraction", 8, classes=12),
    _run(
        "mobilenet-full",
        "mobilenetv3_small_100",
        _IMAGE,
        micro_batch=6,
        architecture=_TIMM,
        classes=12,
    ),
    _run(
        "efficientnet-full",
        "efficientnet_b0",
        _IMAGE,
        micro_batch=2,
        image_size=160,
        architecture=_TIMM,
        classes=12,
    ),
    _run("convnext-full", "convnext_atto", _IMAGE, micro_batch=3, architecture=_TIMM, classes=12),
    _run(
        "audio-full",
        "small-wav2vec2",
        "audio_classification",
        micro_batch=2,
        sequence_length=20000,
        architecture=_WAV2VEC2,
        classes=10,
    ),
    _run(
        "speech-full",
        "small-whisper",
        "speech_recognition",
        micro_batch=2,
        sequence_length=28,
        architecture=_WHISPER,
    ),
    _run("table-full", "benchmarks.local_models:tabular_mlp", "custom", micro_batch=96),
)

#: The same families at the size that a GPU is bought for.
GPU_RUNS: tuple[Case, ...] = (
    _run("decoder-full", "Llama-3.2-1B", "causal_lm", precision="bf16", sequence_length=1000),
    _run(
        "decoder-lora",
        "Llama-3.2-1B",
        "causal_lm",
        "lora",
        4,
        "bf16",
        sequence_length=1000,
        lora_rank=16,
        lora_dropout=0.0,
    ),
    _run(
        "decoder-lora-checkpointed",
        "Llama-3.1-8B",
        "causal_lm",
        "lora",
        2,
        "bf16",
        sequence_length=1500,
        lora_rank=16,
        lora_dropout=0.0,
        gradient_checkpointing="full",
    ),
    _run(
        "gpt2-amp-full",
        "gpt2",
        "causal_lm",
        micro_batch=8,
        precision="amp_bf16",
        sequence_length=500,
    ),
    _run(
        "encoder-full",
        "bert-base-uncased",
        _TEXT,
        micro_batch=32,
        precision="amp_bf16",
        sequence_length=200,
        classes=3,
    ),
    _run(
        "encoder-lora",
        "bert-base-uncased",
        _TEXT,
        "lora",
        32,
        "amp_bf16",
        sequence_length=200,
        classes=3,
        lora_rank=8,
        lora_dropout=0.05,
    ),
    _run(
        "encoder-frozen",
        "bert-base-uncased",
        _TEXT,
        "feature_extraction",
        32,
        "amp_fp16",
        sequence_length=200,
        classes=3,
    ),
    _run(
        "encoder-partial",
        "distilbert-base-uncased",
        _TEXT,
        "partial_fine_tune",
        32,
        sequence_length=150,
        classes=2,
        unfrozen_blocks=2,
    ),
    _run(
        "encoder-decoder-full",
        "t5-base",
        "seq2seq_lm",
        micro_batch=8,
        precision="bf16",
        sequence_length=400,
        target_length=100,
    ),
    _run(
        "vit-full",
        "vit_base_patch16_224",
        _IMAGE,
        micro_batch=48,
        precision="amp_bf16",
        architecture=_TIMM,
        classes=100,
    ),
    _run(
        "resnet-full",
        "torchvision:resnet50",
        _IMAGE,
        micro_batch=96,
        precision="amp_fp16",
        optimizer="sgd_momentum",
        classes=100,
    ),
    _run(
        "resnet-tf32-frozen",
        "torchvision:resnet50",
        _IMAGE,
        "feature_extraction",
        96,
        "tf32",
        classes=100,
    ),
    _run(
        "efficientnet-full",
        "efficientnet_b0",
        _IMAGE,
        micro_batch=64,
        precision="amp_bf16",
        architecture=_TIMM,
        classes=100,
    ),
    _run(
        "convnext-full",
        "convnext_tiny",
        _IMAGE,
        micro_batch=32,
        precision="amp_bf16",
        architecture=_TIMM,
        classes=100,
    ),
    _run(
        "audio-full",
        "wav2vec2-base",
        "audio_classification",
        micro_batch=16,
        precision="amp_bf16",
        sequence_length=80000,
        classes=10,
    ),
    _run(
        "speech-full",
        "whisper-small",
        "speech_recognition",
        micro_batch=8,
        precision="amp_bf16",
        sequence_length=60,
    ),
    _run("table-full", "benchmarks.local_models:tabular_mlp", "custom", micro_batch=4096),
)


@dataclass(frozen=True)
class Predicted:
    """Seconds of a step on one basis with the 80 % interval, or the reason why there are none;
    bytes where the device counts them."""

    p10: float | None = None
    p50: float | None = None
    p90: float | None = None
    allocated_bytes: float | None = None
    reserved_bytes: float | None = None
    refused: str | None = None


@dataclass
class LocalRun:
    """A run, what its visits measured (seconds of a step), and what each basis said."""

    case: Case
    visits: list[float] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    out_of_memory: bool = False
    failed: str | None = None
    predicted: dict[str, Predicted] = field(default_factory=dict)

    @property
    def measured(self) -> float | None:
        """The visits' median: of two their middle, of three the one that the others do not drag
        away."""
        return statistics.median(self.visits) if self.visits else None

    @property
    def scatter(self) -> float | None:
        """Between the slowest and the fastest visit, relative to the measurement."""
        return (
            (max(self.visits) - min(self.visits)) / self.measured if len(self.visits) > 1 else None
        )

    @property
    def scattered(self) -> bool:
        """Whether two visits are so far apart that a third must decide."""
        return self.scatter is not None and self.scatter > SCATTERED

    def error(self, basis: str) -> float | None:
        """(predicted − measured) / measured of a step's time."""
        said = self.predicted.get(basis)
        return (
            None
            if self.measured is None or said is None or said.p50 is None
            else said.p50 / self.measured - 1
        )


def runs_for(device: str, only: Sequence[str] | None = None) -> list[LocalRun]:
    """The runs of a kind of device. Raises SystemExit for a name that is none of them."""
    known = GPU_RUNS if device.partition(":")[0] == "cuda" else PROCESSOR_RUNS
    unknown = set(only or ()) - {c.id for c in known}
    if unknown:
        raise SystemExit(
            f"no run {', '.join(sorted(unknown))}; there are: {', '.join(c.id for c in known)}"
        )
    return [LocalRun(c) for c in known if not only or c.id in only]


def visit(
    runs: Iterable[LocalRun],
    device: str,
    folder: Path,
    seconds: float,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Train every run for some seconds and note what was measured. A run that fails once is not
    visited again."""
    from planner.measure.real_run import measure

    for run in runs:
        if run.failed or run.out_of_memory:
            continue
        try:
            facts, recipe, sizes = question(run.case, folder)
            seen = measure(facts, recipe, device, seconds=seconds, **sizes)
        except PlannerError as error:
            run.failed = str(error)
            tell(f"{run.case.id}: {run.failed}")
            continue
        run.out_of_memory = seen.out_of_memory
        if not seen.out_of_memory:
            run.visits.append(seen.step_seconds)
            for name in ("allocated", "reserved"):
                if (peak := getattr(seen, f"peak_{name}_bytes")) is not None:
                    run.peaks[name] = peak
            tell(f"{run.case.id}: {1e3 * seen.step_seconds:.1f} ms over {seen.steps} steps")


def predict(
    runs: Iterable[LocalRun],
    device: str,
    folder: Path,
    bases: Sequence[str] = BASES,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, list[str]]:
    """Ask the planner for every run on every basis. What it refuses stands beside the others with
    its reason. Returns what could not be timed, by basis."""
    from planner.plan.inputs.hardware import with_basis

    specs: dict[str, Any] = {}
    for basis in bases:
        try:
            specs[basis] = with_basis(_spec(device), basis)
        except PlannerError as error:
            tell(f"basis {basis}: {error}")
            specs[basis] = str(error)
    for run in runs:
        for basis in bases:
            run.predicted[basis] = _asked(run.case, specs[basis], folder)
            if (said := run.predicted[basis]).p50 is not None:
                tell(f"{run.case.id}: {1e3 * said.p50:.1f} ms on the basis {basis}")
    unable = {
        basis: list(getattr(getattr(spec, "timer", None), "notes", ()))
        for basis, spec in specs.items()
    }
    return {f"basis {basis}": notes for basis, notes in unable.items() if notes}


@contextmanager
def watched(device: str, phase: str, doubts: dict[str, list[str]]) -> Iterator[None]:
    """Note under ``phase`` who else used the machine meanwhile, and throttled or drifting
    clocks."""
    from planner.calibrate.operations.backends import backend
    from planner.devices.telemetry.monitor import Monitor

    with Monitor(backend(device)) as monitor:
        yield
    found = [f"{what}. {mend}" for what, mend in monitor.doubts()]
    if found:
        doubts[phase] = found


def question(case: Case, folder: Path) -> tuple[Any, Any, dict[str, int | None]]:
    """(facts, recipe, sizes of the batch) of a case, as ``measure`` and ``evaluate`` both take
    them."""
    from planner.models.resolve import resolve

    facts = resolve(resolvable(case.model, case.architecture, folder), task=case.task, offline=True)
    audio = case.task == "audio_classification"
    return (
        facts,
        recipe_of_case(case, facts.image_size),
        dict(
            micro_batch=case.micro_batch,
            sequence_length=None if audio else case.sequence_length,
            target_length=case.target_length,
            accumulation=case.accumulation,
        ),
    )


@contextmanager
def own_profiles(device: str, file: Path | None) -> Iterator[None]:
    """A copy of the device's profile (``file``, or the one that is found) in a folder of its own,
    without the exact times that earlier questions left: what the benchmark times is its own, and
    the user's profile stays as it is."""
    from planner.devices import profile

    spec = _spec(device)
    kept = profile.load(file) if file is not None else spec.calibration
    before = os.environ.get("PLANNER_DEVICES")
    with tempfile.TemporaryDirectory() as folder:
        if kept is not None:
            profile.save(replace(kept, exact={}), Path(folder) / f"{spec.key}.json")
        os.environ["PLANNER_DEVICES"] = folder
        try:
            yield
        finally:
            os.environ.pop("PLANNER_DEVICES")
            if before is not None:
                os.environ["PLANNER_DEVICES"] = before


def _spec(device: str) -> Any:
    from planner.devices.lookup import resolve_device

    return resolve_device("cpu" if device == "cpu" else "local").spec


def _asked(case: Case, spec: Any, folder: Path) -> Predicted:
    if isinstance(spec, str):
        return Predicted(refused=spec)
    from planner.plan.placement.point import evaluate

    try:
        facts, recipe, sizes = question(case, folder)
        result = evaluate(facts, recipe, spec, **sizes)
    except PlannerError as error:
        return Predicted(refused=str(error))
    time = result.step_seconds
    return Predicted(
        time.p10, time.p50, time.p90, result.allocated_bytes.p50, result.reserved_bytes.p50
    )


# ---------------------------------------------------------------- measurements kept

COLUMNS = (
    "run",
    "device",
    "date",
    "visit",
    "step_seconds",
    "peak_allocated_bytes",
    "peak_reserved_bytes",
    "out_of_memory",
)


def to_csv(runs: Iterable[LocalRun], device: str, date: str) -> str:
    """A row a visit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        peaks = [run.peaks.get(name, "") for name in ("allocated", "reserved")]
        for number, seconds in enumerate(run.visits or ([""] if run.out_of_memory else []), 1):
            writer.writerow(
                [run.case.id, device, date, number, seconds, *peaks, int(run.out_of_memory)]
            )
    return out.getvalue()


def read_csv(text: str, runs: Sequence[LocalRun]) -> None:
    """Fill the runs with what ``to_csv`` wrote. Raises SystemExit for another file's rows."""
    by_name = {run.case.id: run for run in runs}
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise SystemExit(
            f"not a file of --keep: its columns are {', '.join(reader.fieldnames or ['none'])}"
        )
    for row in reader:
        run = by_name.get(row["run"])
        if run is None:
            continue
        run.out_of_memory = row["out_of_memory"] == "1"
        if row["step_seconds"]:
            run.visits.append(float(row["step_seconds"]))
        run.peaks |= {
            name: int(row[f"peak_{name}_bytes"])
            for name in ("allocated", "reserved")
            if row[f"peak_{name}_bytes"]
        }
