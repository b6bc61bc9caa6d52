"""What starts a recipe on several devices: read by the tools' own parsers, and really run by
torchrun on two processes of this machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from planner.cli import main
from planner.errors import QuestionError
from planner.libraries import import_library
from planner.recipe.launching.files import launch_files, places
from planner.recipe.launching.sharing import STAGES
from planner.recipe.scripts import files_of

ROOT = Path(__file__).parents[2]
SHARED = {"gpus": 16, "strategy": ["fine_tune"]}


@pytest.fixture
def written(plan_of, chats, tmp_path):
    """(a folder with the files of a plan, their texts)."""

    def write(**fields):
        files = files_of(plan_of(chats, **fields))
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path, files

    return write


def test_one_device_needs_no_config_of_several(written):
    _, files = written()
    assert "launch/accelerate.yaml" not in files and "deepspeed.json" not in files
    assert "python train.py" in files["README.md"]
    assert "torchrun --standalone --nproc-per-node 1" in files["launch/torchrun.sh"]


def test_a_plan_for_a_processor_has_nothing_to_launch(plan_of, chats):
    assert launch_files(plan_of(chats, gpu="cpu")) == {}


def test_machines_and_times_are_the_plans(plan_of, chats):
    plan = plan_of(chats, **SHARED, parallel="fsdp")
    at = places(plan)
    assert at.nodes * at.each == 16
    assert (at.hours, at.cautious_hours) == (
        plan.option.run.wall_hours.p50,
        plan.option.run.wall_hours.p90,
    )
    files = launch_files(plan)
    dstack, sky = (yaml.safe_load(files[f"launch/{n}"]) for n in ("dstack.yml", "skypilot.yaml"))
    assert (dstack["nodes"], dstack["resources"]["gpu"]["count"]) == (at.nodes, at.each)
    assert (sky["num_nodes"], sky["resources"]["accelerators"]) == (at.nodes, f"H100:{at.each}")
    assert f"SECONDS = {round(at.hours * 3600)} " in files["launch/skypilot_task.py"]
    assert f"--nodes={at.nodes}\n" in files["launch/slurm.sbatch"]
    for text in (*dstack["commands"][1:], sky["run"], files["launch/torchrun.sh"]):
        assert f"--nnodes {at.nodes} --nproc-per-node {at.each} " in text


def test_trls_scripts_hold_copies_alone(plan_of, pairs):
    """Their models beside the trained one are not planned in parts, nor are their settings written
    so."""
    with pytest.raises(QuestionError, match="--parallel: fsdp"):
        files_of(plan_of(pairs, objective="dpo", gpus=2, parallel="fsdp"))


@pytest.mark.parametrize("name", ["torchrun.sh", "slurm.sbatch"])
@pytest.mark.parametrize("gpus", [1, 8, 16])
def test_shell_scripts_are_shell(written, gpus, name):
    folder, _ = written(gpus=gpus)
    done = subprocess.run(
        ["bash", "-n", str(folder / "launch" / name)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("parallel", ["ddp", "fsdp", "zero2", "zero3"])
def test_accelerate_reads_its_file(written, parallel):
    import_library("accelerate", "the tests")
    from accelerate.commands.config.config_args import load_config_from_file

    folder, _ = written(**SHARED, parallel=parallel)
    read = load_config_from_file(str(folder / "launch" / "accelerate.yaml"))
    assert (read.num_processes, read.num_machines) == (16, 2)
    kinds = {"ddp": "MULTI_GPU", "fsdp": "FSDP"}
    assert read.distributed_type.value == kinds.get(parallel, "DEEPSPEED")
    if parallel == "fsdp":
        assert read.fsdp_config["fsdp_version"] == 2


@pytest.mark.parametrize("parallel", sorted(STAGES))
def test_zero_is_deepspeeds_file(written, parallel):
    folder, files = written(**SHARED, parallel=parallel)
    made = json.loads(files["deepspeed.json"])
    assert made["zero_optimization"]["stage"] == STAGES[parallel]
    assert yaml.safe_load(files["config.yaml"])["deepspeed"] == "deepspeed.json"
    assert "deepspeed>=" in files["requirements.txt"]


def test_schedulers_read_their_files(written):
    """Where they are installed: neither is among what the tests install."""
    folder, files = written(**SHARED, parallel="fsdp")
    found = 0
    try:
        from dstack._internal.core.models.configurations import parse_apply_configuration
    except ImportError:
        pass
    else:
        found += 1
        read = parse_apply_configuration(yaml.safe_load(files["launch/dstack.yml"]))
        assert read.resources.gpu.name == ["H100"] and read.nodes == 2
    try:
        import sky
    except ImportError:
        pass
    else:
        found += 1
        assert sky.Task.from_yaml(str(folder / "launch" / "skypilot.yaml")).num_nodes == 2
    if not found:
        pytest.skip("neither dstack nor SkyPilot is installed")


def torchrun(folder, processes, *words):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *run, str(folder / "train.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_written_recipe_trains_on_two_processes(tmp_path, capsys, llama, chats, parallel):
    """Planned for two T4, run on two processes of a processor: as many steps, the weights saved,
    one record."""
    folder, ledger = tmp_path / "train", tmp_path / "runs.sqlite"
    asked = ("--gpu", "t4", "--gpus", "2", "--strategy", "fine_tune", "--parallel", parallel)
    few = ("--micro-batch", "4", "--global-batch", "8", "--max-steps", "6", "--precision", "fp32")
    words = ["recipe", llama, chats, *asked, *few, "-o", folder]
    assert main.run([str(word) for word in words]) == 0, capsys.readouterr().err
    config = folder / "config.yaml"
    config.write_text(config.read_text() + "\nuse_cpu: true\n")
    done = torchrun(folder, 2, "--ledger", ledger)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "weights train" in done.stdout and "the plan has" not in done.stdout
    states = [
        json.loads(path.read_text()) for path in folder.glob("out/checkpoint-*/trainer_state.json")
    ]
    assert max(state["global_step"] for state in states) == 6
    shards = list(folder.glob("out/checkpoint-*/pytorch_model_fsdp_0/*.distcp"))
    assert bool(shards) == (parallel == "fsdp")


def test_copies_of_shared_state_are_accelerates_mesh(written):
    folder, files = written(gpus=16, strategy=["fine_tune"], shard_devices=4)
    mesh = yaml.safe_load(files["launch/accelerate.yaml"])["parallelism_config"]
    sizes = ("parallelism_config_dp_replicate_size", "parallelism_config_dp_shard_size")
    assert [mesh[name] for name in sizes] == [4, 4]
    import_library("accelerate", "the tests")
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.parallelism_config import ParallelismConfig

    read = load_config_from_file(str(folder / "launch" / "accelerate.yaml"))
    assert read.parallelism_config == mesh
    told = re.findall(r"(PARALLELISM_CONFIG_\w+)=(\d+)", files["launch/torchrun.sh"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told:
            patch.setenv(name, value)
        made = ParallelismConfig()
    assert (made.dp_replicate_size, made.dp_shard_size) == (4, 4)
    for name in ("launch/torchrun.sh", "launch/slurm.sbatch", "launch/skypilot.yaml"):
        assert "ACCELERATE_USE_PARALLELISM_CONFIG=true" in files[name]
