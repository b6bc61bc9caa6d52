"""Measures how long collectives take here, and writes the curves into the device's profile.

    torchrun --nproc-per-node 2 -m planner.calibrate.collectives [--backend gloo|nccl]

On several machines torchrun starts it on each, as it starts a training. The planner then prices
collectives among as many ranks on as many machines by these curves. Exit codes as planner's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from planner.calibrate.collectives.asked import asked, place
from planner.calibrate.collectives.keeping import device_of, kept, known_profile
from planner.calibrate.collectives.measuring import backend_of, measured
from planner.errors import PlannerError


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code. Rank 0 speaks and writes; the others only take part."""
    rank = 0
    try:
        wanted, here = asked(arguments), place()
        rank = here.rank
        profile, file = known_profile(device_of(backend_of(wanted.backend, here)), wanted.out)
        curves = measured(wanted, here, _say if rank == 0 else _silent)
        if rank == 0:
            _say(f"written into {kept(profile, file, curves)}")
        return 0
    except PlannerError as error:
        if rank == 0:
            print(f"planner: {error}", file=sys.stderr)
        return error.exit_code


def _say(text: str) -> None:
    print(text, flush=True)


def _silent(_text: str) -> None:
    return


if __name__ == "__main__":
    sys.exit(main())
