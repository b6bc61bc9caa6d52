"""A file of torch.profiler's ``export_chrome_trace`` as spans of host threads, of the device, and
of its memory. A file that is damaged, hostile or something else is one line.

Form: Chrome's Trace Event Format with Kineto's categories (``libkineto/src/output_json.cpp``);
times are microseconds. Older ones write the categories with other letters.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from planner.errors import ProfileError, QuestionError

#: Of a trace after decompression, and of what is decompressed at once.
MOST_BYTES, PIECE_BYTES = 2**29, 2**22
MICRO, MOST_MICROSECONDS = 1e-6, 1e18
#: An event of a training step: a week. What is longer was written by a clock that went wrong.
LONGEST_MICROSECONDS = 7 * 24 * 3600e6
#: Operations in operations; modules in modules are some dozens.
DEEPEST = 1000
RECORD = "torch.profiler.profile(record_shapes=True) … export_chrome_trace(FILE) writes one"
HOST, DEVICE = ("cpu_op", "user_annotation"), ("kernel", "gpu_memcpy", "gpu_memset")
RUNTIME, PYTHON, MEMORY = ("cuda_runtime", "cuda_driver"), "python_function", "[memory]"
_OLDER = {
    "operator": "cpu_op",
    "runtime": "cuda_runtime",
    "memcpy": "gpu_memcpy",
    "memset": "gpu_memset",
    "privateuse1_runtime": "cuda_runtime",
}
MODULE = "nn.Module: "


@dataclass(slots=True)
class Span:
    """Something with a beginning and an end, in seconds since the trace's first event; ``parent``:
    what encloses it on its thread, None at the top."""

    name: str
    category: str
    thread: tuple[str, str]
    start: float
    end: float
    args: Mapping[str, Any]
    parent: Span | None = None
    children: list[Span] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def enclosing(self) -> list[Span]:
        """Itself and what it lies in, the outermost first."""
        found: list[Span] = []
        span: Span | None = self
        while span is not None:
            found.append(span)
            span = span.parent
        return found[::-1]


@dataclass(frozen=True)
class Document:
    """``header``: what stands beside the events. ``host``: operations, annotations, calls of the
    runtime and modules, nested, in the order of their beginnings. ``memory``: arguments of the
    allocator's events. ``timeless``: operations and kernels whose times are no times, left out."""

    path: Path
    header: Mapping[str, Any]
    host: tuple[Span, ...]
    device: tuple[Span, ...]
    memory: tuple[Mapping[str, Any], ...]
    has_stacks: bool
    timeless: int


def read(path: Path) -> Document:
    """Raises QuestionError for a file that is not there, ProfileError for one that is no trace, or
    that several processes' traces were joined in."""
    header, events = _parsed(path, _text(path))
    known = [e for e in events if isinstance(e, dict)]
    begins = [float(e["ts"]) for e in known if e.get("ph") == "X" and _is_number(e.get("ts"))]
    spans = list(_spans(known, min(begins, default=0.0)))
    timeless = sum(1 for e in known if _category(e) in (HOST[0], *DEVICE) and _is_timeless(e))
    host = [s for s in spans if s.category in (*HOST, *RUNTIME, PYTHON)]
    device = [s for s in spans if s.category in DEVICE]
    if not any(s.category == "cpu_op" for s in host) and not device:
        times = f" with a time: those of {timeless} are none" if timeless else ""
        raise ProfileError(
            f"none of its {len(events)} events is an operation or a kernel{times}",
            where=str(path),
            mend=f"Export it inside on_trace_ready, while the steps are there: {RECORD}",
        )
    _one_process(path, host)
    return Document(
        path=path,
        header=header,
        host=_nested(path, host),
        device=tuple(sorted(device, key=lambda s: s.start)),
        memory=tuple(_arguments(e) for e in known if e.get("name") == MEMORY),
        has_stacks=any(str(e.get("cat")) == PYTHON for e in known),
        timeless=timeless,
    )


def _one_process(path: Path, host: Iterable[Span]) -> None:
    """Numbers that tie kernels to their launches are each process's own. Raises ProfileError."""
    found = sorted({s.thread[0] for s in host if s.category == "cpu_op"})
    if len(found) > 1:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise ProfileError(
            f"holds operations of several processes: {', '.join(found[:3])}{more}",
            where=str(path),
            mend="Give the trace that one rank exported, not several joined",
        )


# ---- the file


def _text(path: Path) -> str:
    """At most ``MOST_BYTES``, gzip or plain, whatever the name says."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            # a device or a pipe may have no end
            raise QuestionError("is no regular file", where=str(path))
        with path.open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            data = b"".join(_pieces(gzip.open(file) if magic == b"\x1f\x8b" else file, path))
    except FileNotFoundError:
        raise QuestionError("no such file", where=str(path), mend=RECORD) from None
    except IsADirectoryError:
        raise QuestionError("is a folder, not a file", where=str(path)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ProfileError(
            f"the compressed file is damaged or cut short: {error}", where=str(path)
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProfileError(f"cannot be read: {reason}", where=str(path)) from None
    if not data.strip():
        raise ProfileError("the file is empty", where=str(path), mend=RECORD)
    return data.decode("utf-8-sig", "replace")


def _pieces(file: Any, path: Path) -> Iterator[bytes]:
    total = 0
    while piece := file.read(PIECE_BYTES):
        total += len(piece)
        if total > MOST_BYTES:
            raise ProfileError(
                f"holds more than {MOST_BYTES >> 20} MiB of events",
                where=str(path),
                mend="Record fewer steps, or without stacks",
            )
        yield piece


def _parsed(path: Path, text: str) -> tuple[Mapping[str, Any], list[Any]]:
    try:
        whole = json.loads(text, strict=False)
    except RecursionError:
        raise ProfileError("its JSON is nested too deeply", where=str(path)) from None
    except ValueError as error:
        raise ProfileError(f"not JSON: {str(error)[:80]}", where=str(path), mend=RECORD) from None
    events = whole.get("traceEvents") if isinstance(whole, dict) else whole
    if not isinstance(events, list):
        raise ProfileError("JSON without a list traceEvents", where=str(path), mend=RECORD)
    header = {k: v for k, v in whole.items() if k != "traceEvents"} if events is not whole else {}
    return header, events


# ---- events


def _is_number(value: Any) -> TypeGuard[float]:
    """Microseconds of any clock."""
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and -MOST_MICROSECONDS < value < MOST_MICROSECONDS


def _arguments(event: Mapping[str, Any]) -> Mapping[str, Any]:
    args = event.get("args")
    return args if isinstance(args, dict) else {}


def _category(event: Mapping[str, Any]) -> str:
    category = str(event.get("cat") or "").lower()
    return _OLDER.get(category, category)


def _is_timeless(event: Mapping[str, Any]) -> bool:
    """Whether something that ran has no beginning or no duration that could be one."""
    ts, took = event.get("ts"), event.get("dur")
    if event.get("ph") != "X":
        return False
    return not (_is_number(ts) and _is_number(took) and 0 <= took <= LONGEST_MICROSECONDS)


def _spans(events: Iterable[Mapping[str, Any]], first: float) -> Iterator[Span]:
    for event in events:
        ts, took, name = event.get("ts"), event.get("dur"), event.get("name")
        if event.get("ph") != "X" or not _is_number(ts) or not _is_number(took):
            continue
        if _is_timeless(event):
            continue
        category = _category(event)
        if not isinstance(name, str) or category == PYTHON and not name.startswith(MODULE):
            continue
        start = (float(ts) - first) * MICRO
        thread = str(event.get("pid")), str(event.get("tid"))
        yield Span(name, category, thread, start, start + took * MICRO, _arguments(event))


def _nested(path: Path, spans: Iterable[Span]) -> tuple[Span, ...]:
    """In the order of their beginnings, each with what encloses it on its thread. Raises
    ProfileError where they enclose each other deeper than any program's: each way up is walked for
    each kernel."""
    ordered = sorted(spans, key=lambda s: (s.start, -s.end))
    open_spans: dict[tuple[str, str], list[Span]] = {}
    for span in ordered:
        stack = open_spans.setdefault(span.thread, [])
        while stack and stack[-1].end <= span.start:
            stack.pop()
        if stack:
            span.parent = stack[-1]
            stack[-1].children.append(span)
        stack.append(span)
        if len(stack) > DEEPEST:
            raise ProfileError(
                f"its operations enclose each other more than {DEEPEST:,} deep",
                where=str(path),
                mend=RECORD,
            )
    return tuple(ordered)
