"""A key of a JSON file that says what the others are: a flipped bit is noticed, and so is a changed
number. How the text is laid out does not count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from planner.errors import ProfileError

DIGEST = "digest"


def digest_of(written: Mapping[str, Any]) -> str:
    """Of all but the digest itself."""
    rest = {key: value for key, value in written.items() if key != DIGEST}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), default=str)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def check_digest(written: Mapping[str, Any], where: str, mend: str) -> None:
    """Raises ProfileError where an object is not what was written. One without a digest is of an
    older planner, or of somebody who took it out."""
    if DIGEST in written and written[DIGEST] != digest_of(written):
        raise ProfileError(
            f"damaged, or changed since it was written: it is not what its key {DIGEST!r} says",
            where=where,
            mend=f"{mend}; who changed it on purpose takes that key out",
        )
