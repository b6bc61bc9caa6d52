"""Every way that can be rented, and a walk to the cheapest: what ``estimate`` and ``choose`` both
ask."""
