"""Which network some devices have: the links of a GPU, the nodes it usually stands in, the
instances that providers rent. Rows of ``profiles/networks/``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

from planner import tables
from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.errors import ProfileError, QuestionError
from planner.parallel.network.constants import FOLDER
from planner.parallel.network.link import UNKNOWN, Link
from planner.parallel.network.network import Network
from planner.units import GIGA

BITS = 8
PCIE_LANES = 16  # of every data-centre and desktop card of the table
PAIR = 2
#: The row of ``gpus.csv`` for devices that have none of their own.
ANY = ""


@dataclass(frozen=True)
class Instance:
    """What a provider rents: ``devices`` in one machine, and the machine's network."""

    name: str
    provider: str
    gpu_key: str
    devices: int
    kind: str
    network_bytes_per_s: float
    source: str

    @property
    def between(self) -> Link:
        """One device's share of the machine's network."""
        return Link(self.name, self.kind, self.network_bytes_per_s / self.devices)


def network_of(
    spec: DeviceSpec, devices: int, *, nodes: int | None = None, instance: str | None = None
) -> Network:
    """The network of ``devices`` such devices. ``nodes``: over how many machines they are; without
    it they fill machines of ``instance``, or those that the specification names, or the GPU's usual
    server. ``instance``: a row of ``instances.csv``; without it, and where the specification names
    none, the network of the GPU's usual cluster is assumed, and said.

    Raises QuestionError where no source gives a link, no such instance is known, or the devices do
    not divide among the nodes."""
    measured = () if spec.calibration is None else spec.calibration.collectives
    found = _modelled(spec, devices, nodes, instance, sourced=not measured)
    return replace(found, measured=measured) if measured else found


@lru_cache(maxsize=1024)
def _modelled(
    spec: DeviceSpec, devices: int, nodes: int | None, instance: str | None, *, sourced: bool
) -> Network:
    """As ``network_of``, of what does not change with a calibration (specifications are equal with
    any). ``sourced``: whether every link has to be known, since nothing was measured on one."""
    machine = spec.machine
    named = instance or (machine.instance if machine is not None else None)
    rented = None if named is None else instance_named(named, spec.key)
    usual = _usual(spec.key)
    each = rented.devices if rented is not None else int(usual["devices_per_node"])
    if machine is not None and instance is None:
        each = machine.devices
    if nodes is not None:
        each = _of_each_node(devices, nodes)
    inside, pair, said = _inside(spec, usual, min(devices, each), sourced=sourced)
    between = None
    if devices > each:
        apart = machine is not None and machine.is_part and rented is None
        between, assumed = _of_parts(spec, each) if apart else _between(spec, usual, rented)
        said += assumed
    return Network(
        devices_per_node=each,
        inside=inside,
        between=between,
        said=tuple(said),
        sources=(usual["source"], *([rented.source] if rented else [])),
        pair=pair,
    )


def _of_each_node(devices: int, nodes: int) -> int:
    if nodes < 1 or devices % nodes:
        raise QuestionError(
            f"{devices} devices do not divide among {nodes} nodes",
            mend="Give a number of nodes that divides the devices",
        )
    return devices // nodes


def _inside(
    spec: DeviceSpec, usual: dict[str, str], devices: int, *, sourced: bool
) -> tuple[Link, Link | None, list[str]]:
    """The link inside a node, a bridge of pairs beside it, and what was assumed. ``sourced``:
    whether it has to be known, since nothing was measured on it."""
    shape = usual["topology"]
    if spec.interconnect_bytes_per_s and not usual["gpu_key"]:
        raise QuestionError(
            "no source says how its devices are joined", where=spec.name, mend="Ask for one device"
        )
    if not spec.interconnect_bytes_per_s or shape == "none":
        needed = devices > 1 and sourced
        return (pcie(spec) if needed or spec.pcie_generation else UNKNOWN), None, []
    own = Link(
        usual["inside"],
        usual["inside_kind"],
        spec.interconnect_bytes_per_s,
        generation=(spec.compute_capability or "").partition(".")[0],
        peers=int(usual["peers"]) if usual["peers"] else None,
        multicast=shape == "switch" and (spec.capability or (0, 0)) >= (9, 0),
    )
    if shape != "pair":
        return own, None, []
    if devices <= PAIR:
        return own, own, [f"the two {spec.name} are taken as joined by an NVLink bridge"]
    bridged = f"NVLink bridges join pairs of {spec.name}: more than two talk over PCI Express"
    return pcie(spec), own, [bridged]


def pcie(spec: DeviceSpec) -> Link:
    """Raises QuestionError when no source gives the generation."""
    if spec.pcie_generation is None:
        raise QuestionError(
            "no sourced link between devices", where=spec.name, mend="Ask for one device"
        )
    lane = prior(spec, "data_parallel", f"pcie{spec.pcie_generation}_lane_bytes_per_s")
    generation = (spec.compute_capability or "").partition(".")[0]
    name = f"PCI Express {spec.pcie_generation}.0"
    return Link(name, "pcie", PCIE_LANES * lane, generation=generation)


def _between(
    spec: DeviceSpec, usual: dict[str, str], rented: Instance | None
) -> tuple[Link, list[str]]:
    if rented is not None:
        return rented.between, []
    if not usual["between"]:
        found = [one for one in instances() if one.gpu_key == spec.key]
        if found:
            most = max(found, key=lambda one: (one.devices, one.network_bytes_per_s))
            return most.between, [
                _assumed(spec, most.between, f"that of {most.name}", most.devices)
            ]
        usual = _usual(ANY)
    name, each = usual["between"], int(usual["devices_per_node"])
    card = _links()[name]
    rate = float(card["gbit_per_s"]) * GIGA / BITS * float(usual["cards_per_node"]) / each
    link = Link(name, card["kind"], rate)
    return link, [_assumed(spec, link, f"{usual['cards_per_node']} × {name} a node", each)]


def _of_parts(spec: DeviceSpec, each: int) -> tuple[Link, list[str]]:
    """Between instances that are smaller than a server: what cards of servers join, they have
    not."""
    name = _servers()[ANY]["between"]
    card = _links()[name]
    link = Link(name, card["kind"], float(card["gbit_per_s"]) * GIGA / BITS / each)
    said = (
        f"machines of {each} {spec.name} are parts of a server: the network between them is taken "
        f"as one card of {float(card['gbit_per_s']):,.4g} Gb/s a machine, {card['kind']}"
    )
    return link, [said]


def _assumed(spec: DeviceSpec, link: Link, what: str, each: int) -> str:
    return (
        f"no instance is named: the network between nodes is taken as {what}, "
        f"{link.bytes_per_s * BITS / GIGA:,.4g} Gb/s a GPU, and {each} {spec.name} as a node"
    )


def instance_named(name: str, gpu_key: str | None = None) -> Instance:
    """Raises QuestionError for one that is not known, or has other devices."""
    found = {one.name.lower(): one for one in instances()}.get(name.strip().lower())
    if found is None:
        known = ", ".join(one.name for one in instances() if gpu_key in (None, one.gpu_key))
        raise QuestionError(
            "its network is not known", where=name, mend=f"Use one of {known or 'no instance'}"
        )
    if gpu_key is not None and found.gpu_key != gpu_key:
        raise QuestionError(f"it has {found.gpu_key}, not {gpu_key}", where=found.name)
    return found


@cache
def instances() -> tuple[Instance, ...]:
    """Every instance whose network is documented. Raises ProfileError for a malformed row."""
    try:
        return tuple(
            Instance(
                row["instance"],
                row["provider"],
                row["gpu_key"],
                int(row["gpus"]),
                row["kind"],
                float(row["network_gbit_per_s"]) * GIGA / BITS,
                row["source"],
            )
            for row in tables.rows(FOLDER, "instances.csv")
        )
    except (KeyError, ValueError) as error:
        raise ProfileError(f"malformed row: {error}", where="networks/instances.csv") from error


@cache
def _links() -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in tables.rows(FOLDER, "links.csv")}


@cache
def _servers() -> dict[str, dict[str, str]]:
    return {row["gpu_key"]: row for row in tables.rows(FOLDER, "gpus.csv")}


def usual_devices(gpu_key: str) -> int:
    """Of the server that such devices usually stand in."""
    return int(_usual(gpu_key)["devices_per_node"])


def _usual(gpu_key: str) -> dict[str, str]:
    return _servers().get(gpu_key) or _servers()[ANY]
