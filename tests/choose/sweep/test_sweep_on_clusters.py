"""A sweep over Dask and Ray gives the same table as one in this process."""

import types

import pytest
from sweeping import rows, written

from planner.choose.sweep import clusters
from planner.choose.sweep.sweep import Where, exit_code, sweep
from planner.cli import main
from planner.errors import MachineError, QuestionError


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    sweep(written(folder), folder / "answers.jsonl", where=Where(processes=1))
    return folder


@pytest.fixture(scope="module")
def dask():
    """The address of a cluster of two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    yield cluster.scheduler_address
    cluster.close()


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_file(here, dask, tmp_path, capsys):
    output = tmp_path / "answers.jsonl"
    code = main.run(["sweep", str(here / "grid.yaml"), "-o", str(output), "--dask", dask])
    assert code == 0 and "16 answered" in capsys.readouterr().out
    assert output.read_bytes() == (here / "answers.jsonl").read_bytes()


@pytest.mark.slow
def test_a_part_that_dask_cannot_do_fails_alone(here, dask, tmp_path, monkeypatch):
    """As many parts as there are questions, of which some raise on the worker."""
    monkeypatch.setattr(clusters, "answered_together", _breaking)
    summary = sweep(here / "grid.yaml", tmp_path / "answers.jsonl", where=Where(dask=dask))
    assert summary["failed"] > 0 and summary["failed"] + summary["answered"] == 16
    assert exit_code(summary) == 3
    errors = {row["error"] for row in rows(tmp_path / "answers.jsonl")} - {None}
    assert errors == {"the worker failed: ZeroDivisionError: a part that cannot be done"}
    assert (tmp_path / "answers.jsonl.journal").exists()


def _breaking(questions):
    from planner.choose.sweep.work import answered_together

    if questions[0].values["model"] == "gpt2":
        raise ZeroDivisionError("a part that cannot be done")
    return answered_together(questions)


def test_a_scheduler_that_is_not_there_is_one_line(here, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "PATIENCE", 1)
    with pytest.raises(MachineError, match="tcp://127.0.0.1:9: no Dask scheduler answers"):
        where = Where(dask="tcp://127.0.0.1:9")
        sweep(here / "grid.yaml", tmp_path / "answers.jsonl", where=where)


@pytest.mark.parametrize(
    "found, error, words",
    [
        ({"w1": "0.0.9"}, QuestionError, "w1 has planner 0.0.9, this is .* same version"),
        ({}, MachineError, "has no workers"),
        (None, MachineError, "its workers have no planner: ModuleNotFoundError"),
    ],
)
def test_workers_with_another_planner_are_not_used(found, error, words):
    def ask():
        if found is None:
            raise ModuleNotFoundError("No module named 'planner'")
        return found

    with pytest.raises(error, match=words):
        clusters._check_versions(clusters._versions(ask, "tcp://x"), "tcp://x")


class Ray(types.ModuleType):
    """What the planner calls of ray, done at once in this process: ``init``, ``is_initialized``,
    ``shutdown``, ``cluster_resources``, ``remote``, ``wait``, ``get``."""

    def __init__(self):
        super().__init__("ray")
        self.address, self.running, self.held, self.most = "", False, {}, 0

    def is_initialized(self):
        return self.running

    def init(self, address=None, *, log_to_driver=True):
        self.address, self.running = address, True

    def shutdown(self):
        self.running = False

    def cluster_resources(self):
        return {"CPU": 1.0}

    def remote(self, function):
        def call(*arguments):
            reference = object()
            self.held[reference] = function, arguments
            self.most = max(self.most, len(self.held))
            return reference

        return types.SimpleNamespace(remote=call)

    def wait(self, references, *, num_returns=1):
        return references[:num_returns], references[num_returns:]

    def get(self, reference):
        function, arguments = self.held.pop(reference)
        return function(*arguments)


@pytest.fixture
def ray(monkeypatch):
    found = Ray()
    monkeypatch.setattr(clusters, "library", lambda name, purpose: found)
    return found


@pytest.mark.parametrize("given, address", [("", None), ("ray://head:10001", "ray://head:10001")])
def test_ray_gives_the_same_file(here, ray, tmp_path, given, address):
    output = tmp_path / "answers.jsonl"
    command = ["sweep", str(here / "grid.yaml"), "-o", str(output), "--quiet"]
    assert main.run([*command, "--ray", *([given] if given else [])]) == 0
    assert output.read_bytes() == (here / "answers.jsonl").read_bytes()
    assert ray.address == address and not ray.running and not ray.held
    assert ray.most <= clusters.WAITING


def test_the_stand_in_for_ray_has_its_surface():
    real = pytest.importorskip("ray")
    import inspect

    inspect.signature(real.init).bind(address=None, log_to_driver=False)
    inspect.signature(real.wait).bind([], num_returns=1)
    inspect.signature(real.get).bind(None)
    for name in ("is_initialized", "shutdown", "cluster_resources", "remote"):
        assert callable(getattr(real, name))


@pytest.mark.slow
def test_the_real_ray_gives_the_same_file(here, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    output = tmp_path / "answers.jsonl"
    sweep(here / "grid.yaml", output, where=Where(ray=""))
    assert output.read_bytes() == (here / "answers.jsonl").read_bytes()
