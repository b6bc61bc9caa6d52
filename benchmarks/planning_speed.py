"""How fast an answer comes, and in how much memory.

    python benchmarks/planning_speed.py [--runs 7] [--only shipped] [--json]

1. ``shipped``: the whole process, from a shell, of a question answered from a shipped trace, every
   strategy on one GPU; and that it imports neither torch, transformers nor pandas. ``rented``: the
   same over every GPU that can be rented. ``calibrated``: ``shipped`` on a device profile of full
   size (``stand_in_profile.py``), run in turns with it; the limit is what the profile may add.
2. ``never_seen`` and ``never_seen_lora``: a 32-layer decoder of odd sizes that nobody has traced,
   with an empty cache.
3. ``grid``: 100,000 points (batch, length, GPU) of one traced model: memory and time of each.

Modules are byte-compiled once, as an installer does. Leaves with 1 when a limit is broken; the
limits are of wall time, processor time stands beside it for machines that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from planner.report.views.accuracy import machine  # noqa: E402

RENTED = ("estimate", "Llama-3.2-1B", "--samples", "1000", "--tokens-per-sample", "512")
SHIPPED = (*RENTED, "--gpu", "h100-sxm")
NEVER_SEEN = {"never_seen": "fine_tune", "never_seen_lora": "lora"}
HEAVY = ("torch", "transformers", "pandas")
LIMITS = {
    "shipped": 0.5,
    "calibrated": 0.05,
    "rented": 1.0,
    "never_seen": 15.0,
    "never_seen_lora": 15.0,
    "grid": 2.0,
}
MAIN = "import sys; from planner.cli.main import main; sys.exit(main())"


@dataclass(frozen=True)
class Timing:
    """Wall seconds of a whole process (median, fastest, slowest of ``runs``), the median of its
    user seconds, its peak resident bytes, and how it ended."""

    name: str
    seconds: float
    user_seconds: float
    fastest_seconds: float
    slowest_seconds: float
    runs: int
    peak_rss_bytes: int
    limit_seconds: float | None
    exit_code: int
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.exit_code == 0 and (
            self.limit_seconds is None or self.seconds < self.limit_seconds
        )


def command(*arguments: str) -> list[str]:
    """The installed ``planner``, or the module where only the checkout is there."""
    script = Path(sys.executable).with_name("planner")
    return (
        [str(script), *arguments] if script.exists() else [sys.executable, "-c", MAIN, *arguments]
    )


@dataclass(frozen=True)
class Process:
    """One process that has ended. ``complaint``: the last line of its errors."""

    seconds: float
    user_seconds: float
    peak_rss_bytes: int
    exit_code: int
    complaint: str


def measure(line: list[str], environment: dict[str, str]) -> Process:
    """Run a process to its end."""
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return Process(
        seconds,
        usage.ru_utime,
        usage.ru_maxrss * 1024,
        process.returncode,
        lines[-1] if lines else "",
    )


def timing(name: str, results: list[Process]) -> Timing:
    seconds, worst = [r.seconds for r in results], max(results, key=lambda r: abs(r.exit_code))
    return Timing(
        name,
        statistics.median(seconds),
        statistics.median(r.user_seconds for r in results),
        min(seconds),
        max(seconds),
        len(results),
        max(r.peak_rss_bytes for r in results),
        LIMITS[name],
        worst.exit_code,
        worst.complaint if worst.exit_code else "",
    )


def repeated(name: str, line: list[str], environment: dict[str, str], runs: int) -> Timing:
    """The median over ``runs`` processes, after one that warms the file cache."""
    measure(line, environment)
    return timing(name, [measure(line, environment) for _ in range(runs)])


def heavy_imports(line: tuple[str, ...], environment: dict[str, str]) -> list[str]:
    """Which of the heavy libraries the process of a question imports, as the interpreter itself
    reports imports."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", MAIN, *line],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    seen = {
        match[1].split(".")[0]
        for match in re.finditer(r"^import time:.*\|\s*([\w.]+)\s*$", run.stderr, re.MULTILINE)
    }
    if "planner" not in seen:
        raise SystemExit(f"the imports could not be read: {run.stderr[-300:]}")
    return sorted(seen & set(HEAVY))


def never_seen_config(seed: int) -> dict:
    """A 32-layer Llama-like configuration that no catalogue has: odd head sizes, widths and
    vocabulary."""
    draw = random.Random(seed)
    heads, groups, head_size = (
        draw.choice((12, 18, 20, 28)),
        draw.choice((1, 2)),
        draw.choice((56, 72, 88, 104)),
    )
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 32,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // groups,
        "head_dim": head_size,
        "hidden_size": heads * head_size,
        "intermediate_size": heads * head_size * 3 - draw.randrange(8, 64, 8),
        "vocab_size": draw.randrange(20_000, 60_000),
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
    }


def never_seen(name: str, environment: dict[str, str], runs: int) -> Timing:
    """A fresh configuration and an empty cache each time, one training strategy."""
    results = []
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            model.mkdir()
            (model / "config.json").write_text(json.dumps(never_seen_config(time.time_ns() + seed)))
            line = command("estimate", str(model), "--strategy", NEVER_SEEN[name], *SHIPPED[2:])
            results.append(
                measure(line, {**environment, "PLANNER_CACHE": str(Path(folder) / "cache")})
            )
    return timing(name, results)


def added_by_a_profile(environment: dict[str, str], runs: int) -> Timing:
    """What reading and using a device profile adds to the answer: the median of the differences of
    neighbouring processes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stand_in.json"
        subprocess.run(
            [
                sys.executable,
                str(ROOT / "benchmarks" / "stand_in_profile.py"),
                "h100-sxm",
                str(file),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        plain, profiled = command(*SHIPPED), command(*RENTED, "--gpu", str(file))
        measure(plain, environment), measure(profiled, environment)
        pairs = [(measure(plain, environment), measure(profiled, environment)) for _ in range(runs)]
        size = file.stat().st_size
    added = [after.seconds - before.seconds for before, after in pairs]
    usual = timing("calibrated", [after for _, after in pairs])
    return replace(
        usual,
        seconds=statistics.median(added),
        user_seconds=statistics.median(a.user_seconds - b.user_seconds for b, a in pairs),
        fastest_seconds=min(added),
        slowest_seconds=max(added),
        detail=f"added by a profile of {size / 1e3:.0f} kB; {usual.detail}".strip("; "),
    )


def grid_points() -> Timing:
    """Time and memory of 50 batches × 50 lengths × 40 GPUs in this process; the trace is loaded
    before the clock starts."""
    import resource

    import numpy as np

    from planner.devices.specification import all_devices
    from planner.memory.peak import peak_allocated
    from planner.models.resolve import resolve
    from planner.step_time.clock import StepClock
    from planner.trace.source import TraceSource
    from planner.training.recipe import Recipe

    trace = TraceSource(
        resolve("Llama-3.2-1B"), Recipe("fine_tune", "causal_lm", "bf16", "adamw")
    ).at(B=2, S=512)
    batch, length = np.meshgrid(np.arange(2, 52), np.arange(64, 64 + 50 * 64, 64), indexing="ij")
    devices = [
        spec
        for spec in all_devices()
        if spec.is_cuda_like and spec.supports("bf16") and spec.memory_bandwidth_bytes_per_s
    ][:40]
    start, started = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    dims = trace.dims(B=batch.ravel(), S=length.ravel())
    memory = peak_allocated(trace, dims)
    seconds = [StepClock(spec).price(trace, dims, precision="bf16").seconds for spec in devices]
    elapsed = time.perf_counter() - start
    points = len(devices) * memory.size
    elapsed *= 100_000 / points  # fewer devices than 40 would flatter the figure
    assert all(s.shape == memory.shape and (s > 0).all() for s in seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Timing(
        "grid",
        elapsed,
        usage.ru_utime - started,
        elapsed,
        elapsed,
        1,
        usage.ru_maxrss * 1024,
        LIMITS["grid"],
        0,
        f"{points} points on {len(devices)} GPUs, scaled to 100,000",
    )


def grid(environment: dict[str, str], runs: int) -> Timing:
    """``grid_points`` in processes of its own: the median of them."""
    line, found = [sys.executable, __file__, "--grid-here"], []
    for _ in range(runs):
        run = subprocess.run(
            line, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
        )
        if run.returncode:
            complaint = (run.stderr.strip().splitlines() or [""])[-1]
            return Timing(
                "grid",
                float("nan"),
                float("nan"),
                float("nan"),
                float("nan"),
                0,
                0,
                LIMITS["grid"],
                run.returncode,
                complaint,
            )
        found.append(Timing(**json.loads(run.stdout)))
    seconds = [t.seconds for t in found]
    return replace(
        found[0],
        seconds=statistics.median(seconds),
        user_seconds=statistics.median(t.user_seconds for t in found),
        fastest_seconds=min(seconds),
        slowest_seconds=max(seconds),
        runs=runs,
        peak_rss_bytes=max(t.peak_rss_bytes for t in found),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", choices=tuple(LIMITS), action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--grid-here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.grid_here:
        print(json.dumps(asdict(grid_points())))
        return 0
    timings, heavy = every(args.only or tuple(LIMITS), args.runs)
    if args.json:
        print(
            json.dumps(
                {
                    "machine": machine(),
                    "heavy_imports": heavy,
                    "timings": [{**asdict(t), "holds": t.holds} for t in timings],
                },
                indent=1,
            )
        )
    else:
        print_table(timings, heavy)
    return int(bool(heavy) or not all(t.holds for t in timings))


def every(names: tuple[str, ...], runs: int) -> tuple[list[Timing], list[str]]:
    """The timings asked for, and the heavy libraries that the shipped question imported."""
    timings, heavy = [], []
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name in names:
            if name in ("shipped", "rented"):
                timings.append(
                    repeated(
                        name,
                        command(*(SHIPPED if name == "shipped" else RENTED)),
                        environment,
                        runs,
                    )
                )
            elif name == "calibrated":
                timings.append(added_by_a_profile(environment, runs))
            elif name in NEVER_SEEN:
                timings.append(never_seen(name, environment, min(runs, 3)))
            else:
                timings.append(grid(environment, min(runs, 3)))
        if "shipped" in names:
            heavy = heavy_imports(SHIPPED, environment)
    return timings, heavy


def print_table(timings: list[Timing], heavy: list[str]) -> None:
    print("; ".join(f"{name} {value}" for name, value in machine().items()))
    for t in timings:
        limit = (
            f"limit {t.limit_seconds:g} s, {'holds' if t.holds else 'BROKEN'}"
            if t.limit_seconds
            else "no limit"
        )
        print(
            f"{t.name:15} {t.seconds:8.3f} s median of {t.runs} ({t.fastest_seconds:.3f} to "
            f"{t.slowest_seconds:.3f}), user {t.user_seconds:.3f} s; "
            f"peak {t.peak_rss_bytes / 2**20:.0f} MiB; {limit}{'; ' + t.detail if t.detail else ''}"
        )
    print(f"heavy libraries imported by the shipped question: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
