"""A step with its optimizer's phase behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.trace.raw import RawTrace
from planner.trace.recorder.repeat.flat import (
    BIRTH,
    CATEGORY,
    DEATH,
    MODULE,
    OWNER,
    SIGNATURE,
    SIZE,
    Flat,
    flattened,
)
from planner.trace.table import CATEGORIES


def followed_by(flat: Flat, phase: RawTrace) -> Flat:
    """The step with the optimizer's phase behind it, its state there from the beginning."""
    more, at = flattened(phase, []), flat.end
    operations, storages = more.operations.copy(), more.storages.copy()
    operations[:, SIGNATURE] += len(flat.signatures)
    operations[:, MODULE] = storages[:, OWNER] = flat.modules.index("")
    storages[:, SIZE] += len(flat.sizes)
    storages[:, DEATH] += at
    state = storages[storages[:, CATEGORY] == CATEGORIES.index("optimizer")]
    inside = storages[storages[:, BIRTH] >= 0]
    inside[:, BIRTH] += at
    own = flat.storages.copy()
    own[own[:, DEATH] == at, DEATH] = at + more.end
    first = int(np.argmax(~_of_weights(own))) if len(own) else 0
    return replace(
        flat,
        signatures=flat.signatures + more.signatures,
        operations=np.concatenate([flat.operations, operations]),
        sizes=flat.sizes + more.sizes,
        storages=np.concatenate([own[:first], state[state[:, BIRTH] < 0], own[first:], inside]),
    )


def _of_weights(storages: np.ndarray) -> np.ndarray:
    weights = storages[:, CATEGORY] == CATEGORIES.index("weights")
    return weights & (storages[:, BIRTH] < 0)
