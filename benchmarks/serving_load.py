"""How ``planner serve`` holds under load: clients that move sliders of one question about a model
whose traces ship, against a real server on loopback.

    python -m benchmarks.serving_load --clients 50 --seconds 60

Each client moves one slider, waits for the answer, looks at it (``--think`` seconds on average) and
moves on, as a person does; ``--think 0`` asks without a pause. Every question differs from those of
the other clients in epochs, price or budget, so that no answer is a copy; what lies on a position
of the sliders (batch, length, GPUs) is priced once and then kept. Before the clock starts the
server is asked once and left alone for ``--quiet`` seconds, in which it prices the neighbouring
positions, as it does while somebody reads. ``--far`` lets clients keep every slider that they
moved, so that they meet positions together that were not priced ahead.

``--same``: everybody asks one question, whose answer is remembered.

At the end some answers are held against ``planner.estimate`` of the same question.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

BASE = {"model": "Llama-3.2-1B", "samples": 20000, "tokens_per_sample": 192, "gpu": "h100-sxm"}
POSITIONS = {
    "global_batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    "max_length": (128, 256, 512, 1024, 2048, 4096, 8192),
    "gpus": (1, 2, 4, 8),
}
#: Of the moves, the share that changes a position of the trace; the rest moves epochs and money.
POSITION_SHARE = 0.4
CHECKED = 5


@dataclass
class Seen:
    """Seconds of every answer, what failed, and some questions with their answers."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    size: int = 0
    processor_seconds: float = 0.0


def moved(chance: random.Random, question: dict[str, Any], far: bool) -> dict[str, Any]:
    """One slider moved, money and epochs always a little."""
    following = dict(question) if far else dict(BASE)
    following["epochs"] = round(chance.uniform(0.5, 20), 3)
    if chance.random() < 0.5:
        following["price"] = round(chance.uniform(0.5, 8), 3)
    if chance.random() < POSITION_SHARE:
        name = chance.choice(list(POSITIONS))
        following[name] = chance.choice(POSITIONS[name])
    return following


async def client(
    number: int, http: httpx.AsyncClient, seen: Seen, until: float, arguments: argparse.Namespace
) -> None:
    chance = random.Random(number)
    question = dict(BASE)
    await asyncio.sleep(chance.uniform(0, max(arguments.think, 0.2)))
    while time.monotonic() < until:
        question = BASE if arguments.same else moved(chance, question, arguments.far)
        begun = time.monotonic()
        try:
            answer = await http.post("/api/estimate", json=question)
        except httpx.HTTPError as error:
            seen.errors.append(repr(error))
            continue
        seen.seconds.append(time.monotonic() - begun)
        if answer.status_code != 200 or b'"recommended"' not in answer.content:
            seen.errors.append(f"{answer.status_code}: {answer.text[:200]}")
        seen.size = max(seen.size, len(answer.content))
        if chance.random() < 0.02 and len(seen.kept) < CHECKED:
            seen.kept.append((question, answer.json()))
        if arguments.think:
            await asyncio.sleep(chance.uniform(0.5, 1.5) * arguments.think)


def processor_seconds(server: int) -> float:
    """Of the server and its workers so far."""
    root = psutil.Process(server)
    return sum(
        each.cpu_times().user + each.cpu_times().system
        for each in (root, *root.children(recursive=True))
    )


async def loaded(address: str, server: int, arguments: argparse.Namespace) -> tuple[Seen, Seen]:
    """(the first questions, alone; those of all clients)."""
    limits = httpx.Limits(max_connections=arguments.clients)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
        alone = Seen()
        for _ in range(arguments.workers):
            begun = time.monotonic()
            (await http.post("/api/estimate", json=BASE)).raise_for_status()
            alone.seconds.append(time.monotonic() - begun)
        both = [http.post("/api/estimate", json=BASE) for _ in range(2 * arguments.workers)]
        await asyncio.gather(*both)
        await asyncio.sleep(arguments.quiet)
        before = processor_seconds(server)
        seen, until = Seen(), time.monotonic() + arguments.seconds
        await asyncio.gather(
            *(client(number, http, seen, until, arguments) for number in range(arguments.clients))
        )
        seen.processor_seconds = processor_seconds(server) - before
    return alone, seen


def check(seen: Seen) -> list[str]:
    """Which of the kept answers differ from the command line's."""
    from planner import Question, estimate

    wrong = []
    for question, answer in seen.kept:
        expected = json.loads(json.dumps(estimate(Question(**question, offline=True))))
        if expected != answer:
            wrong.append(json.dumps(question))
    return wrong


def percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=1.0)
    parser.add_argument("--quiet", type=float, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--far", action="store_true")
    parser.add_argument("--same", action="store_true")
    parser.add_argument("--limit-ms", type=float, default=200)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "planner.cli.main", "serve", "--port", "0"]
    command += ["--workers", str(arguments.workers)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            print(f"the server did not start: {line}")
            return 3
        alone, seen = asyncio.run(loaded(found[0], server.pid, arguments))
        tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        memory = sum(each.memory_info().rss for each in tree)
    finally:
        server.terminate()
        server.wait(20)
    return report(arguments, alone, seen, memory)


def report(arguments: argparse.Namespace, alone: Seen, seen: Seen, memory: int) -> int:
    wrong = check(seen)
    p95 = 1000 * percentile(seen.seconds, 0.95)
    print(f"first question, cold: {1000 * alone.seconds[0]:.0f} ms")
    print(
        f"{arguments.clients} clients, {arguments.seconds:.0f} s, think {arguments.think} s, "
        f"{arguments.workers} workers: {len(seen.seconds)} answers "
        f"({len(seen.seconds) / arguments.seconds:.1f} a second), {len(seen.errors)} errors"
    )
    print(
        f"p50 {1000 * statistics.median(seen.seconds):.0f} ms, p95 {p95:.0f} ms, "
        f"p99 {1000 * percentile(seen.seconds, 0.99):.0f} ms, "
        f"longest {1000 * max(seen.seconds):.0f} ms; an answer is {seen.size / 1000:.0f} kB; "
        f"the server takes {1000 * seen.processor_seconds / len(seen.seconds):.0f} ms of processor "
        f"for one and holds {memory / 2**20:.0f} MiB"
    )
    print(f"{len(seen.kept)} answers held against planner.estimate: {len(wrong)} differ")
    for text in [*seen.errors[:5], *wrong[:5]]:
        print(" ", text)
    return 0 if not seen.errors and not wrong and p95 < arguments.limit_ms else 1


if __name__ == "__main__":
    sys.exit(main())
