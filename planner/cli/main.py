"""``planner``: the command line's entry. Each command is one thin file, imported only when it is
the one called."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

# pydantic would read the entry points of every installed package in search of plugins
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import click
from click.shell_completion import CompletionItem

from planner.cli.progress import process_begins
from planner.cli.switches import DEBUG, with_switches
from planner.errors import PlannerError, nearest
from planner.today import today

#: command → (module that holds it as ``command``, one line of help). Listing the commands imports
#: none of them.
COMMANDS = {
    "estimate": (
        "planner.cli.commands.estimate",
        "GPU hours, peak memory and dollars of every strategy.",
    ),
    "choose": (
        "planner.cli.commands.choose",
        "What to rent and which way to go: the cheapest that keeps your limits.",
    ),
    "sweep": (
        "planner.cli.commands.sweep",
        "A grid of questions into one table: models × data × strategies × GPUs.",
    ),
    "explain": (
        "planner.cli.commands.explain",
        "Where time and memory of a step go, and what each change would buy.",
    ),
    "trace": (
        "planner.cli.commands.trace",
        "The simulated step for Perfetto or chrome://tracing.",
    ),
    "diff": (
        "planner.cli.commands.diff",
        "Two questions or answers side by side: what changed, why, and a gate.",
    ),
    "compare": (
        "planner.cli.commands.compare",
        "The planned step beside a recorded one: a profiler's trace, or a memory snapshot.",
    ),
    "data": (
        "planner.cli.commands.data",
        "What was understood of a dataset, and records as they will be trained.",
    ),
    "init": ("planner.cli.commands.init", "Write a commented project.yaml to fill in."),
    "convert": (
        "planner.cli.commands.convert",
        "A training's own file as a project.yaml: what was understood, and what not.",
    ),
    "recipe": (
        "planner.cli.commands.recipe",
        "A script and settings that run the plan, record it and forecast its cost.",
    ),
    "report": (
        "planner.cli.commands.report",
        "Write a budget report: HTML, PDF, Word, Excel, Markdown, CSV or JSON.",
    ),
    "calibrate": (
        "planner.cli.commands.calibrate",
        "Time what this machine really does; estimates then stand on it.",
    ),
    "devices": (
        "planner.cli.commands.devices",
        "What was measured on which device, and how far to trust it.",
    ),
    "measure": (
        "planner.cli.commands.measure",
        "Really train for some steps here, beside the estimate.",
    ),
    "validate": (
        "planner.cli.commands.validate",
        "Measured runs against today's estimates: errors, bias, coverage.",
    ),
    "correct": (
        "planner.cli.commands.correct",
        "Learn from measured runs how far estimates are off on your devices.",
    ),
    "runs": (
        "planner.cli.commands.runs",
        "Real runs that were measured, beside what was estimated for them.",
    ),
    "prices": (
        "planner.cli.commands.prices",
        "What providers ask for a GPU-hour, how old that is, and your own contracts.",
    ),
    "gpus": (
        "planner.cli.commands.gpus",
        "List the known GPUs with their memory, peak rates and prices.",
    ),
    "models": (
        "planner.cli.commands.models",
        "List the models that are answered without a download.",
    ),
    "serve": ("planner.cli.commands.serve", "A local page with sliders, and an API beneath it."),
    "mcp": ("planner.cli.commands.mcp", "Tools for coding assistants, over standard input."),
    "completion": (
        "planner.cli.commands.completion",
        "Let bash, zsh or fish complete commands, flags and names.",
    ),
    "schema": (
        "planner.cli.commands.schema",
        "Print the JSON Schema of a question or of an answer.",
    ),
}

MACHINE_FAILED, INTERRUPTED = 3, 130


class LazyGroup(click.Group):
    """Commands by name; an unknown one is refused with the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        from planner.cli.completing import with_completion
        from planner.cli.help import with_help

        command = with_switches(importlib.import_module(COMMANDS[name][0]).command)
        return with_completion(with_help(name, command))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands' names without importing any."""
        return [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def resolve_command(self, ctx: click.Context, args: list[str]):
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest(args[0], COMMANDS)
            hint = (
                f"Did you mean {' or '.join(near)}?" if near else f"Commands: {', '.join(COMMANDS)}"
            )
            raise click.UsageError(f"no such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="planner", prog_name="planner")
def cli() -> None:
    """What will this training cost, and which way should I do it?

    \b
    planner estimate Llama-3.2-1B tickets.jsonl --gpu h100
    planner estimate project.yaml --max-usd 100

    Exit codes: 0 answered; 1 answered, but a limit you set is broken; 2 the question is wrong; 3
    the machine failed.
    """
    # a wrong PLANNER_TODAY is refused here: further in, it would pass for a price that is not known
    today()


with_switches(cli)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    process_begins()
    if sys.stdout is None or sys.stderr is None:
        _reopen()
    # looking for plugins reads every installed package's metadata
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    # starting threads is half of numpy's import; the arrays here are small
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # a short process that makes few cycles: looking for them is a tenth of its time
    gc.set_threshold(100_000, 20, 20)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(arguments))


def _reopen() -> None:
    """A process may be started with a closed stream, for which Python puts None: what is written to
    it is refused as a full disk is, or lost where it is that of errors."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        sys.stdout = _Closed()


class _Closed(io.TextIOBase):
    """Standard output that nobody opened."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


def run(arguments: list[str]) -> int:
    """The exit code of one call; every error becomes one line on standard error."""
    stream = sys.stdout
    try:
        code = cli.main(arguments, prog_name="planner", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _fail(_one_line(error), error.exit_code)
    except PlannerError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        if not _of_output(error):
            return _unexpected(error, arguments)
        _discard_output()
        return _fail(f"the answer could not be written: {error.strerror or error}", MACHINE_FAILED)
    except SystemExit:
        # where the reader has gone, click puts another stream in the place of standard output and
        # leaves with 1, which would say that a limit is broken
        if sys.stdout is not stream:
            return _reader_left()
        raise
    except Exception as error:  # the last net: a bug or a machine failure, never a traceback
        return _unexpected(error, arguments)


def _of_output(error: OSError) -> bool:
    """Whether standard output is what fails: what is opened by its name has a name."""
    return error.filename is None and error.errno in (
        *(errno.ENOSPC, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT),
    )


def _discard_output() -> None:
    """What still waits to be written is given up, lest the interpreter tries again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = open(os.devnull, "w")


def _fail(line: str, code: int) -> int:
    click.echo(f"planner: {printable(line)}", err=True)
    return code


def printable(text: str) -> str:
    """One line that cannot drive a terminal: control characters are shown, not sent."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1]
        for c in " ".join(text.split())
    )


def _one_line(error: click.ClickException) -> str:
    """Click's message, with the command to ask for help where the usage was wrong."""
    message = error.format_message().rstrip(". ")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message}. See: {error.ctx.command_path} --help" if "?" not in message else message
    return message


def _reader_left() -> int:
    """``planner … | head``: what was read is what was wanted. Standard output is closed for good,
    quietly."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _unexpected(error: Exception, arguments: list[str]) -> int:
    debug = DEBUG in arguments
    if debug:
        import traceback

        traceback.print_exc()
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "" if debug else f". The same with {DEBUG} shows the traceback"
    return _fail(f"unexpected {what[:500]}{hint}", MACHINE_FAILED)


if __name__ == "__main__":
    main()
