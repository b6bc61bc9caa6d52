"""Recordings that a question is sure to want, shared between this process and one beside it.

A model that nobody has traced costs one recording a strategy at least. Both processes see the same
list of strategies, this one from its start and the other from its end, and take what the other has
not taken; what is recorded comes through the cache of traces. The walk that follows finds it there,
and records whatever the other process could not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from planner.errors import PlannerError
from planner.plan.inputs.problem import Problem, understand
from planner.plan.placement.variants import variants
from planner.plan.survey.survey import Survey
from planner.question import Question
from planner.trace.source import TraceSource

#: Environment variable: 1 keeps recordings in one process.
PROCESSES = "PLANNER_PROCESSES"
#: Bytes of a dataset up to which a second process may read it again.
SMALL_DATA = 4_000_000
POLL_SECONDS = 0.02


def record_ahead(survey: Survey) -> None:
    """Record what every strategy of the survey wants first, in two processes where that helps.
    What cannot be recorded is left to the walk, which says why."""
    problem = survey.problem
    if not _may_share(problem):
        return
    wanted = list(_wanted(survey))
    if len(wanted) < 2:
        return
    with TemporaryDirectory(prefix="planner-") as name, _beside(Path(name), problem) as other:
        folder = Path(name)
        theirs = [strategy for strategy in wanted if not _taken_here(survey, strategy, folder)]
        for number, strategy in enumerate(theirs):
            if problem.progress:
                problem.progress(f"tracing {strategy} beside", number, len(theirs))
            while other.poll() is None and not _done(folder, strategy).exists():
                time.sleep(POLL_SECONDS)


def _may_share(problem: Problem) -> bool:
    """Whether a second process may be worth its start, and may ask what this one asks."""
    data = problem.question.data
    return (
        problem.record
        and os.environ.get(PROCESSES, "2") != "1"
        and _cores() > 1
        and problem.facts.library != "factory"  # a module of the user's own
        and not problem.question.trust_remote_code
        and (data is None or (Path(data).is_file() and Path(data).stat().st_size <= SMALL_DATA))
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _wanted(survey: Survey) -> Iterator[str]:
    """Strategies of whose first policy of checkpointing no trace lies anywhere."""
    seen: set[str] = set()
    for strategy in survey.strategies:
        source = _source(survey, strategy)
        if source is not None and source.stem not in seen and not source.lies:
            seen.add(source.stem)
            yield strategy


def _source(survey: Survey, strategy: str) -> TraceSource | None:
    """Of the plainest variant: the others may need a recording to be known."""
    try:
        variant = next(variants(survey.problem, strategy, survey.hardware.specs[0]))
    except (PlannerError, StopIteration):
        return None
    stage = variant.stages[-1]
    recipe = stage.choices.with_checkpointing(stage.choices.checkpointing[0])
    return survey.problem.source(recipe, stage.facts, stage.teacher)


def _taken_here(survey: Survey, strategy: str, folder: Path) -> bool:
    """Record what a strategy wants first, if nobody else has taken it."""
    try:
        os.close(os.open(folder / strategy, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    spec = survey.hardware.specs[0]
    try:
        for variant in variants(survey.problem, strategy, spec):
            for stage in variant.stages:
                next(survey.grids.of(stage, spec)).shared.trace  # noqa: B018  # recorded when asked
    except PlannerError:
        pass  # the walk comes upon it again, and says it where it belongs
    _done(folder, strategy).touch()
    return True


def _done(folder: Path, strategy: str) -> Path:
    return folder / f"{strategy}.done"


@contextmanager
def _beside(folder: Path, problem: Problem) -> Iterator[subprocess.Popen[bytes]]:
    """The other process, which ends with this block at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdin is not None
        try:
            process.stdin.write(problem.question.model_dump_json().encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it could not start: what it would have taken is recorded here
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """The other process: a question on standard input, the folder of claims as the argument."""
    from planner.plan.inputs.hardware import find_hardware
    from planner.plan.survey.survey import survey

    question = Question.model_validate_json(sys.stdin.buffer.read())
    problem = understand(question)
    found = survey(problem, find_hardware(question), counts=(question.gpus,))
    for strategy in reversed(list(_wanted(found))):
        _taken_here(found, strategy, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
