"""The help of commands: flags in groups, the ones that matter first, and examples at the end."""

from __future__ import annotations

from types import MethodType

import click

from planner.question.groups import FIRST, GROUPS

FIRST_TITLE, OWN_TITLE, PLAIN_TITLE = "What matters first", "Output", "Options"
#: A command with fewer fields of a question than this has one list.
GROUPED_FROM = 20
INDENT = 2

#: command → calls of it that a reader can copy. Files are those that one has at hand.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "estimate": (
        "estimate Llama-3.2-1B tickets.jsonl --gpu h100-sxm",
        "estimate bert-base-uncased --samples 20k --tokens-per-sample 128 --classes 4",
        "estimate project.yaml --max-usd 100 --details",
        "estimate whisper-small --samples 2000 --audio-hours 10 -o budget.html",
    ),
    "choose": (
        "choose Llama-3.2-1B tickets.jsonl --max-usd 20",
        "choose project.yaml --deadline 2027-03-01 --provider runpod",
    ),
    "sweep": (
        "sweep grid.yaml -o answers.parquet",
        "sweep grid.yaml -o answers.csv --processes 4",
        "sweep grid.yaml -o answers.parquet --dask tcp://10.0.0.1:8786",
    ),
    "explain": (
        "explain Llama-3.2-1B --samples 20k --tokens-per-sample 200 --gpu l4",
        "explain project.yaml -o explained.html",
    ),
    "trace": ("trace gpt2 --samples 1000 --tokens-per-sample 200 --gpu l4 -o step.json",),
    "diff": ("diff project.yaml other.yaml", "diff project.yaml other.yaml -o diff.md"),
    "compare": (
        "compare project.yaml --trace trace.json.gz",
        "compare project.yaml --snapshot snapshot.pickle -o memory.md",
    ),
    "data": ("data tickets.jsonl", "data tickets.jsonl --model Llama-3.2-1B --max-length 1024"),
    "init": ("init", "init plans/support.yaml"),
    "convert": (
        "convert axolotl.yml",
        "convert train.yaml train.jsonl --gpu h100 -o project.yaml",
    ),
    "recipe": (
        "recipe Llama-3.2-1B train.jsonl --gpu h100 -o train/",
        "recipe project.yaml --strategy lora -o train/",
    ),
    "report": (
        "report project.yaml -o budget.html",
        "report answer.json -o budget.xlsx",
    ),
    "calibrate": ("calibrate", "calibrate --trace trace.json.gz --out a100.json"),
    "devices": ("devices", "devices local --plot roofline.png"),
    "measure": ("measure gpt2 --samples 1000 --tokens-per-sample 200 --strategy lora",),
    "validate": ("validate",),
    "correct": ("correct",),
    "runs": ("runs", "runs show 3f2a", "runs import trainer_state.json", "runs export runs.csv"),
    "prices": ("prices --gpu h100-sxm", "prices refresh", "prices import contracts.csv"),
    "gpus": ("gpus", "gpus --like h100"),
    "models": ("models", "models --like llama"),
    "serve": ("serve",),
    "mcp": ("mcp",),
    "completion": (
        "completion bash >> ~/.bashrc",
        "completion zsh >> ~/.zshrc",
        "completion fish > ~/.config/fish/completions/planner.fish",
    ),
    "schema": ("schema answer", "schema question"),
}


def with_help(name: str, command: click.Command) -> click.Command:
    """The command, whose help is in groups and ends in its examples."""

    def write_examples(_: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in EXAMPLES.get(name, ()):
                formatter.write(_broken(f"planner {example}", formatter.width - INDENT))

    vars(command)["format_epilog"] = write_examples
    if not isinstance(command, click.Group):
        # commands are made by click's decorator, everywhere: one place changes how all are shown
        vars(command)["format_options"] = MethodType(_write_options, command)
    return command


def _broken(call: str, width: int) -> str:
    """A call in lines that a shell reads as one."""
    lines = [""]
    for word in call.split():
        longer = f"{lines[-1]} {word}".strip()
        fits = len(longer) <= width - len(" \\") - INDENT
        lines = [*lines[:-1], longer] if fits or not lines[-1] else [*lines, word]
    return (" " * INDENT) + f" \\\n{' ' * 2 * INDENT}".join(lines) + "\n"


def _write_options(
    command: click.Command, context: click.Context, formatter: click.HelpFormatter
) -> None:
    for title, options in grouped(command, context).items():
        records = [each.get_help_record(context) for each in options]
        shown = [record for record in records if record is not None]
        if shown:
            with formatter.section(title):
                formatter.write_dl(shown)


def grouped(command: click.Command, context: click.Context) -> dict[str, list[click.Option]]:
    """title → parameters, of all that a command has."""
    all_of_them = command.get_params(context)
    parameters = {str(x.name): x for x in all_of_them if isinstance(x, click.Option)}
    of_question = {*FIRST, *(name for names in GROUPS.values() for name in names)}
    if len(of_question & set(parameters)) < GROUPED_FROM:
        return {PLAIN_TITLE: list(parameters.values())}
    titles = {FIRST_TITLE: FIRST, **GROUPS}
    found = {
        title: [parameters[name] for name in names if name in parameters]
        for title, names in titles.items()
    }
    own = [each for name, each in parameters.items() if name not in of_question]
    return found | {OWN_TITLE: own}
