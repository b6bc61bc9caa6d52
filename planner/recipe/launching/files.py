"""What starts a recipe on the planned devices: torchrun, accelerate, Slurm, SkyPilot, dstack. Times
and devices are the plan's."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from planner import tables, units
from planner.parallel.network import network_of
from planner.recipe.launching.sharing import (
    FSDP,
    STAGES,
    environment,
    mesh_of,
    parallel_of,
    sharing_keys,
)
from planner.recipe.planned import Planned

PORT = 29500
TABLE = ("recipe_scripts", "accelerators.csv")


@dataclass(frozen=True)
class Places:
    """``nodes`` machines with ``each`` devices; hours of the run: the middle and the cautious."""

    nodes: int
    each: int
    hours: float
    cautious_hours: float


def places(planned: Planned) -> Places:
    devices, offer = parallel_of(planned).devices, planned.option.rented.offer
    size = offer.gpu_count or 1 if offer is not None else 1
    if size == 1 and devices > 1:
        # offers of single devices: machines as the plan's network has them
        size = network_of(planned.option.rented.spec, devices).devices_per_node
    nodes = math.ceil(devices / size)
    wall = planned.option.run.wall_hours
    return Places(nodes, math.ceil(devices / nodes), wall.p50, wall.p90)


def command(planned: Planned) -> str:
    """What a user types on one machine."""
    at = places(planned)
    if at.nodes > 1 or mesh_of(planned):
        return "bash launch/torchrun.sh"
    return "python train.py" if at.each == 1 else f"torchrun --nproc-per-node {at.each} train.py"


def launch_files(planned: Planned) -> dict[str, str]:
    """Name → text. Nothing for a plan on this machine's processor."""
    if planned.option.rented.spec.one_clock:
        return {}
    names = _names().get(planned.option.rented.spec.key, {})
    files = {
        "launch/torchrun.sh": _torchrun(planned),
        "launch/slurm.sbatch": _slurm(planned),
    }
    if parallel_of(planned).devices > 1:
        files["launch/accelerate.yaml"] = _yaml(_accelerate(planned), _head(planned))
    if names.get("skypilot"):
        files["launch/skypilot.yaml"] = _yaml(_sky(planned, names["skypilot"]), _head(planned))
        files["launch/skypilot_task.py"] = _sky_task(planned)
    if names.get("dstack"):
        made = _dstack(planned, names["dstack"], int(names["memory_gb"]))
        files["launch/dstack.yml"] = _yaml(made, _head(planned))
    return files


@cache
def _names() -> dict[str, dict[str, str]]:
    return {row["gpu_key"]: row for row in tables.rows(*TABLE)}


def _head(planned: Planned) -> str:
    at, spec = places(planned), planned.option.rented.spec
    hours = units.format_seconds(at.hours * units.SECONDS_PER_HOUR)
    cautious = units.format_seconds(at.cautious_hours * units.SECONDS_PER_HOUR)
    return f"# {at.nodes} × {at.each} × {spec.name}; planned: {hours}, cautiously {cautious}\n"


def _yaml(made: dict[str, Any], head: str) -> str:
    return head + yaml.safe_dump(made, sort_keys=False, width=98, allow_unicode=True)


def _on_each(planned: Planned, node: str, address: str) -> str:
    """torchrun's words on one machine of the run."""
    at, told = places(planned), environment(planned)
    if at.nodes == 1:
        return f"{told}torchrun --standalone --nproc-per-node {at.each} train.py"
    return (
        f"{told}torchrun --nnodes {at.nodes} --nproc-per-node {at.each} --node-rank {node} "
        f"--master-addr {address} --master-port {PORT} train.py"
    )


def _torchrun(planned: Planned) -> str:
    at = places(planned)
    lines = ["#!/usr/bin/env bash", _head(planned).rstrip()]
    if at.nodes > 1:
        lines += [
            f"# On each of the {at.nodes} machines, with the same files at the same place:",
            "#   NODE_RANK=0 MASTER_ADDR=first-machine bash launch/torchrun.sh",
        ]
    run = _on_each(planned, '"${NODE_RANK:?0 to nodes - 1}"', '"${MASTER_ADDR:?the first machine}"')
    return "\n".join([*lines, "set -euo pipefail", 'cd "$(dirname "$0")/.."', f'{run} "$@"', ""])


def _slurm(planned: Planned) -> str:
    at = places(planned)
    minutes = math.ceil(at.cautious_hours * 60)
    hours, rest = divmod(minutes, 60)
    lines = [
        "#!/usr/bin/env bash",
        f"#SBATCH --job-name={_slug(planned)}",
        f"#SBATCH --nodes={at.nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --gpus-per-node={at.each}",
        f"#SBATCH --time={hours}:{rest:02d}:00",
        "#SBATCH --signal=B:TERM@120",
        _head(planned).rstrip() + "; --time is the cautious figure",
        "set -euo pipefail",
        'cd "${SLURM_SUBMIT_DIR:-.}"',
        'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
    ]
    run = _on_each(planned, '"$SLURM_NODEID"', '"$MASTER_ADDR"').replace('"', '\\"')
    run = run.replace("$SLURM_NODEID", "\\$SLURM_NODEID")
    return "\n".join([*lines, f'srun bash -c "{run}"', ""])


def _accelerate(planned: Planned) -> dict[str, Any]:
    """``accelerate launch --config_file launch/accelerate.yaml train.py``."""
    at, parallel = places(planned), parallel_of(planned)
    made: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "mixed_precision": "no",  # train.py's own config.yaml says it
        "num_machines": at.nodes,
        "num_processes": parallel.devices,
        "machine_rank": 0,
        "main_training_function": "main",
        "use_cpu": False,
    }
    if at.nodes > 1:
        made |= {"main_process_ip": "127.0.0.1", "main_process_port": PORT}
    if parallel.sharding == FSDP:
        made["distributed_type"] = "FSDP"
        keys = {key.name: key.value for key in sharing_keys(planned) if key is not None}
        made["fsdp_config"] = {f"fsdp_{name}": v for name, v in keys["fsdp_config"].items()}
    if mesh := mesh_of(planned):
        sizes = {f"parallelism_config_{name}": size for name, size in mesh.items()}
        made["parallelism_config"] = sizes
    if parallel.sharding in STAGES:
        made["distributed_type"] = "DEEPSPEED"
        made["deepspeed_config"] = {
            "deepspeed_config_file": "deepspeed.json",
            "zero3_init_flag": parallel.sharding == "zero3",
        }
    return made


def _sky(planned: Planned, name: str) -> dict[str, Any]:
    at, offer = places(planned), planned.option.rented.offer
    run = _on_each(planned, '"$SKYPILOT_NODE_RANK"', '"$(echo "$SKYPILOT_NODE_IPS" | head -n1)"')
    resources: dict[str, Any] = {"accelerators": f"{name}:{at.each}"}
    if offer is not None and offer.spot:
        resources["use_spot"] = True
    return {
        "name": _slug(planned),
        "resources": resources,
        "num_nodes": at.nodes,
        "workdir": "..",
        "setup": "pip install -r requirements.txt",
        "run": run,
    }


def _sky_task(planned: Planned) -> str:
    at = places(planned)
    seconds = round(at.hours * units.SECONDS_PER_HOUR)
    return f'''"""The task of skypilot.yaml with the plan's time, by which SkyPilot weighs prices:
python launch/skypilot_task.py starts it."""

from pathlib import Path

import sky

SECONDS = {seconds}  # the plan's median, between the first command and the last


def task():
    made = sky.Task.from_yaml(str(Path(__file__).with_name("skypilot.yaml")))
    return made.set_time_estimator(lambda resources: SECONDS)


if __name__ == "__main__":
    sky.stream_and_get(sky.launch(task(), cluster_name={json.dumps(_slug(planned))}, down=True))
'''


def _dstack(planned: Planned, name: str, memory: int) -> dict[str, Any]:
    at, offer = places(planned), planned.option.rented.offer
    run = _on_each(planned, '"$DSTACK_NODE_RANK"', '"$DSTACK_MASTER_NODE_IP"')
    spot = "spot" if offer is not None and offer.spot else "on-demand"
    return {
        "type": "task",
        "name": _slug(planned),
        "nodes": at.nodes,
        "python": "3.12",
        "commands": ["pip install -r requirements.txt", run],
        "resources": {"gpu": {"name": name, "memory": f"{memory}GB", "count": at.each}},
        "spot_policy": spot,
        "max_duration": f"{math.ceil(at.cautious_hours)}h",
    }


def _slug(planned: Planned) -> str:
    """Lower-case letters, digits and hyphens, as schedulers name jobs."""
    text = f"{planned.problem.facts.name}-{planned.strategy}".lower()
    kept = "".join(letter if letter.isalnum() else "-" for letter in text)
    return "-".join(part for part in kept.split("-") if part)[:40].rstrip("-")
