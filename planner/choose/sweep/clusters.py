"""Questions spread over a cluster that exists: workers of Dask or Ray, with the same planner in
them. A part that a worker cannot do fails alone."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from planner.choose.sweep.order import Chunk
from planner.choose.sweep.work import Reply, answered_together, without
from planner.errors import MachineError, MissingExtraError, QuestionError
from planner.version import __version__

#: Library → the extra that brings it.
EXTRAS = {"distributed": "sweep", "ray": "ray"}
#: Parts that wait for each thread of a cluster: none idles, and no scheduler holds all.
WAITING = 3
#: Seconds until a scheduler that does not answer counts as not there.
PATIENCE = 20


def library(name: str, purpose: str) -> Any:
    """Raises MissingExtraError where it is not installed."""
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(name, EXTRAS[name], purpose)
    return importlib.import_module(name)


def version() -> str:
    """What a worker answers with."""
    return __version__


def answered_on_dask(groups: Sequence[Sequence[Chunk]], address: str) -> Iterator[Reply]:
    """On the workers of a Dask scheduler. Raises MachineError where it cannot be reached or its
    workers have no planner, QuestionError where they have another one."""
    distributed = library("distributed", "a sweep over Dask")
    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise MachineError(
            f"no Dask scheduler answers: {' '.join(str(error).split())[:200]}", where=address
        ) from None
    try:
        _check_versions(_versions(lambda: client.run(version), address), address)
        yield from _on_dask(distributed, client, groups)
    finally:
        client.close(timeout=PATIENCE)


def _on_dask(distributed: Any, client: Any, groups: Sequence[Sequence[Chunk]]) -> Iterator[Reply]:
    parts = (chunk for group in groups for chunk in group)
    most = WAITING * max(1, sum(client.nthreads().values()))
    of: dict[Any, Chunk] = {}

    def submitted() -> Any | None:
        chunk = next(parts, None)
        if chunk is None:
            return None
        # pure: the same questions in another sweep are another day's
        future = client.submit(answered_together, chunk, pure=False)
        of[future] = chunk
        return future

    first = [future for _ in range(most) if (future := submitted()) is not None]
    done = distributed.as_completed(first, loop=client.loop)
    try:
        for future in done:
            yield from _result(future.result, of.pop(future))
            following = submitted()
            if following is not None:
                done.add(following)
    finally:
        client.cancel(list(of))


def answered_on_ray(groups: Sequence[Sequence[Chunk]], address: str | None) -> Iterator[Reply]:
    """On a Ray cluster; without an address on the one that runs here, else on one that is started
    for it. Raises as ``answered_on_dask``."""
    ray = library("ray", "a sweep over Ray")
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=address, log_to_driver=False)
        except (ConnectionError, OSError, ValueError, RuntimeError) as error:
            raise MachineError(
                f"no Ray cluster answers: {' '.join(str(error).split())[:200]}",
                where=address or "ray",
            ) from None
    try:
        remote = ray.remote(version)
        _check_versions(_versions(lambda: {"": ray.get(remote.remote())}, "ray"), "ray")
        yield from _on_ray(ray, groups)
    finally:
        if ours:
            ray.shutdown()


def _on_ray(ray: Any, groups: Sequence[Sequence[Chunk]]) -> Iterator[Reply]:
    parts = (chunk for group in groups for chunk in group)
    most = WAITING * max(1, int(ray.cluster_resources().get("CPU", 1)))
    remote = ray.remote(answered_together)
    of: dict[Any, Chunk] = {}
    while True:
        while len(of) < most and (chunk := next(parts, None)) is not None:
            of[remote.remote(chunk)] = chunk
        if not of:
            return
        done, _ = ray.wait(list(of), num_returns=1)
        for reference in done:
            chunk = of.pop(reference)
            yield from _result(lambda found=reference: ray.get(found), chunk)


def _result(get: Callable[[], list[Reply]], chunk: Chunk) -> list[Reply]:
    """A worker that died or could not read its part: its questions fail, the others go on."""
    try:
        return get()
    except Exception as error:
        words = f"the worker failed: {type(error).__name__}: {' '.join(str(error).split())}"[:400]
        return [without(one, "failed", words) for one in chunk]


def _versions(ask: Callable[[], dict[str, str]], where: str) -> dict[str, str]:
    try:
        found = ask()
    except Exception as error:  # whatever a worker without the planner raises
        words = " ".join(str(error).split())[:200]
        raise MachineError(
            f"its workers have no planner: {type(error).__name__}: {words}",
            where=where,
            mend=f"Install planner {__version__} for them",
        ) from None
    if not found:
        raise MachineError("has no workers", where=where, mend="Start some")
    return found


def _check_versions(found: dict[str, str], where: str) -> None:
    for worker, its in found.items():
        if its != __version__:
            raise QuestionError(
                f"{worker or 'a worker'} has planner {its}, this is {__version__}",
                where=where,
                mend="Install the same version for both",
            )
