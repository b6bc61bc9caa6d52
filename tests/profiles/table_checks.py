"""The registry of what every row of every shipped table must satisfy. Adding a table: one line in
``tables_of_devices.py`` or ``tables_of_work.py``.
"""

from tables_of_devices import OF_DEVICES_AND_PRICES
from tables_of_work import OF_WORK

#: Glob under profiles/ → checks. The first pattern that matches a table is the one that counts.
CHECKS = {**OF_DEVICES_AND_PRICES, **OF_WORK}
