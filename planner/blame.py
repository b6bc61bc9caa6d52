"""Whose code failed: the model's (the user's own, or the library's that holds it), torch's, a
device library's, or the planner's own.

The traceback says it. From the innermost frame outwards, frames of torch and of Python's library
are passed over, since they run what somebody asked of them, and so are those where the recorder
hands an operation of the model on. The first frame that is left has failed. A fault of the planner
is no fault of the model: it stays the error that it is, and the command line calls it unexpected.
"""

from __future__ import annotations

import dis
import linecache
import re
import sys
import sysconfig
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Literal

from planner.errors import MachineError, ModelError, PlannerError

Culprit = Literal["model", "torch", "device", "planner"]
Owner = Literal["model", "torch", "device", "planner", "python"]

_PACKAGE = str(Path(__file__).resolve().parent) + "/"
#: Answers operations in torch's place while a step is recorded.
_RECORDER = _PACKAGE + "trace/recorder/"
_DEVICE_LIBRARIES = ("pynvml", "bitsandbytes", "amdsmi")
#: Of torch's own folders.
_DEVICE_FOLDERS = ("cuda/", "mps/", "xpu/", "backends/")
#: What a device that failed says, whoever asked: it may fail long after the operation.
_DEVICE_SAYS = re.compile(r"CUDA error|CUDNN_STATUS|cuDNN error|CUBLAS_STATUS|HIP error")
#: The call of what torch's protocol handed over, as the recorder writes it.
_HANDED_ON = re.compile(r"(func|fused|copy|torch(\.\w+)+)\(")
_LONGEST_LINE = 200


def culprit(error: BaseException) -> Culprit:
    """Whose code raised ``error``, by its traceback."""
    if type(error).__name__ == "AcceleratorError" or _DEVICE_SAYS.search(str(error)):
        return "device"
    steps = _innermost_first(error)
    owners = [_owner(step) for step in steps]
    of_torch = False
    for index, (owner, step) in enumerate(zip(owners, steps)):
        if owner == "model" or owner == "device" and index == 0:
            return owner
        if owner == "planner":
            asked = "model" in owners[index:]
            if not _file(step).startswith(_RECORDER) or not (
                of_torch or _hands_on(step, error, asked)
            ):
                break
        of_torch |= owner != "python"
    return "torch" if of_torch else "planner"


def raised_by_planner(error: BaseException) -> bool:
    """Whether a line of the planner itself is wrong: it names what is not there, or calls something
    in a way that it cannot be called. Where a library may raise anything for a damaged file or an
    unreachable server, this is neither, and is raised on."""
    steps = _innermost_first(error)
    wrong = isinstance(error, (NameError, AttributeError, AssertionError)) or (
        isinstance(error, TypeError) and "argument" in str(error)
    )
    return wrong and bool(steps) and _owner(steps[0]) == "planner"


def line_of(error: BaseException) -> str:
    """``ValueError: what it says``, in one line that is not long."""
    said = " ".join(str(error).split())[:_LONGEST_LINE]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def failure(error: Exception, doing: str, name: str) -> PlannerError:
    """The error to raise for one of running the model ``name``; ``doing``: ``when it is trained``.

    ModelError in one line where the model's own code failed, or torch under it; MachineError where
    the device or its library did. An error of the planner's own is raised here, as it is.
    """
    who = culprit(error)
    if who == "planner":
        raise error
    line = line_of(error)
    if who == "device":
        return MachineError(f"the device or its library fails {doing}: {line}", where=name)
    if who == "torch":
        return ModelError(f"torch fails {doing}: {line}", where=name)
    return ModelError(f"its own code fails {doing}: {line} ({_place(error)})", where=name)


def blamed(error: BaseException) -> str:
    """For a note or a doubt: the line, and whose it is where it is the planner's own."""
    line = line_of(error)
    return f"a fault of the planner itself: {line}" if raised_by_planner(error) else line


def _innermost_first(error: BaseException) -> list[TracebackType]:
    """Generated code has no owner and is left out."""
    found: list[TracebackType] = []
    step = error.__traceback__
    while step is not None:
        if not _file(step).startswith("<"):
            found.append(step)
        step = step.tb_next
    return found[::-1]


def _file(step: TracebackType) -> str:
    return step.tb_frame.f_code.co_filename


def _owner(step: TracebackType) -> Owner:
    return owner_of_file(_file(step))


def owner_of_file(file: str) -> Owner:
    """Whose code a source file holds."""
    if file.startswith(_PACKAGE):
        return "planner"
    if any(file.startswith(_place_of(name) or "?") for name in _DEVICE_LIBRARIES):
        return "device"
    torch = _place_of("torch")
    if torch and file.startswith(torch):
        return "device" if file.removeprefix(torch).startswith(_DEVICE_FOLDERS) else "torch"
    standard = sysconfig.get_path("stdlib") + "/"
    return "python" if file.startswith(standard) and "-packages/" not in file else "model"


def _place_of(library: str) -> str | None:
    """Folder of a package that is imported, file of a module; None where it is neither."""
    file = getattr(sys.modules.get(library), "__file__", None)
    return file.removesuffix("__init__.py") if isinstance(file, str) else None


def _hands_on(step: TracebackType, error: BaseException, asked: bool) -> bool:
    """Whether it is an operation of the model that failed in this line of the recorder: the call of
    what torch's protocol handed over, or one of the recorder's own kernels whose operands, which
    are the model's, do not fit. ``asked``: the model is among the callers."""
    code, instruction = step.tb_frame.f_code, step.tb_lasti
    operation = dis.opname[code.co_code[instruction]]
    if operation == "RAISE_VARARGS":
        return False
    if asked and isinstance(error, (RuntimeError, IndexError)):
        return True
    return operation.startswith("CALL") and bool(_HANDED_ON.match(_expression(step)))


def _expression(step: TracebackType) -> str:
    """The source from where the failing expression begins."""
    code = step.tb_frame.f_code
    line, _, column, _ = next(islice(code.co_positions(), step.tb_lasti // 2, None), (None,) * 4)
    if line is None or column is None:
        return ""
    return linecache.getline(code.co_filename, line).encode()[column:].decode(errors="replace")


def _place(error: BaseException) -> str:
    """Where in the model's code, for whoever is to mend it."""
    step = next(s for s in _innermost_first(error) if _owner(s) == "model")
    return f"{Path(_file(step)).name}, line {step.tb_lineno}"
