"""The program that counts with a stranger's tokenizer, apart from the planner: such a file can ask
for any amount of memory, run without end, or make the library give up.

Reads a request a line of JSON, {"count": [texts]} or {"special": whether a pair}, and writes an
answer a line: {"ok": …} or {"error": text}. The first line written is {"ok": entries}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


def main(path: str, megabytes: int) -> None:
    _limit(megabytes)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the library prints is no answer

    def answer(made: Mapping[str, Any]) -> None:
        answers.write(json.dumps(made) + "\n")
        answers.flush()

    from tokenizers import Tokenizer

    try:
        model = Tokenizer.from_file(path)
        model.no_truncation()
        model.no_padding()
        answer({"ok": model.get_vocab_size()})
    except BaseException as error:  # a panic of the library is no Exception
        return answer({"error": _words(error)})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            if "special" in request:
                answer({"ok": model.num_special_tokens_to_add(request["special"])})
            else:
                found = model.encode_batch(request["count"], add_special_tokens=False)
                answer({"ok": [len(encoding.ids) for encoding in found]})
        except BaseException as error:
            answer({"error": _words(error)})
    return None


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _limit(megabytes: int) -> None:
    """Memory, and no file of what was in memory when it ends. A system without such limits has the
    parent's eye alone."""
    try:
        import resource
    except ImportError:
        return
    for kind, value in ((resource.RLIMIT_AS, megabytes * 2**20), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):  # the system knows the name and not the limit
            continue


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
