"""A line within a JSON file that says what the others are: a flipped bit is noticed, as a changed
number is."""

from __future__ import annotations

import hashlib
import re

from planner.errors import ProfileError

_SEAL = re.compile(r'^ "digest": "sha256:([0-9a-f]{64})",\n', re.MULTILINE)


def sealed(text: str) -> str:
    """The text of an object that begins on a line of its own, with its digest in the next."""
    first, end, rest = text.partition("\n")
    return f'{first}{end} "digest": "sha256:{_digest(text)}",\n{rest}'


def check_seal(text: str, where: str, mend: str) -> None:
    """Raises ProfileError where a text is not what it was sealed as. One without a digest is of an
    older planner, or of somebody who took the line out."""
    found = _SEAL.search(text)
    if found is None:
        if '"digest"' in text:
            raise ProfileError("damaged: its line 'digest' is none", where=where, mend=mend)
        return
    if _digest(text[: found.start()] + text[found.end() :]) != found[1]:
        raise ProfileError(
            "damaged, or changed since it was written: it is not what its line 'digest' says",
            where=where,
            mend=f"{mend}; who changed it on purpose takes that line out",
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
