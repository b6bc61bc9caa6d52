"""The documentation's own code, importable."""

import sys
from pathlib import Path

SITE = Path(__file__).parent.parent.parent / "docs" / "site"
sys.path.insert(0, str(SITE))
