"""What carries bytes between devices, and how long a collective takes on it."""

from planner.parallel.network.algorithms import OPERATIONS
from planner.parallel.network.link import Link
from planner.parallel.network.network import Network, collective_seconds
from planner.parallel.network.which import network_of

__all__ = ["OPERATIONS", "Link", "Network", "collective_seconds", "network_of"]
