"""Models that have no gradient checkpointing."""

from types import SimpleNamespace

from planner.errors import NoCheckpointingError
from planner.plan.placement import grid as grids


def test_a_model_without_checkpointing_is_planned_by_the_first_policy(monkeypatch):
    class Shared:
        def __init__(self, policy):
            self.policy = policy

        @property
        def trace(self):
            raise NoCheckpointingError("this model has no gradient checkpointing")

    def one(_self, _stage, policy, _spec, _parallel):
        return SimpleNamespace(shared=Shared(policy))

    monkeypatch.setattr(grids.Grids, "_one", one)
    stage = SimpleNamespace(choices=SimpleNamespace(checkpointing=("none", "full")))
    found = list(grids.Grids(None, ()).of(stage, None))
    assert [grid.shared.policy for grid in found] == ["none"]
