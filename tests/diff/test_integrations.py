"""What ``docs/integrations`` offers: YAML that loads, commands that exist, flags that parse, and a
script that really runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from planner.cli.main import cli

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "integrations"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
FILES = [*sorted(FOLDER.rglob("*.yml")), *sorted(FOLDER.rglob("*.yaml")), HOOKS]
#: What the variables of the scripts hold where they run.
VARIABLES = {
    "${projects[@]}": "project.yaml",
    "${limits[@]}": "--max-increase-usd 5 --max-increase-percent 20",
    "$PROJECTS": "project.yaml",
    "$MAX_INCREASE_USD": "5",
    "$MAX_INCREASE_PERCENT": "20",
}


def loaded(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def texts(node):
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


def commands(text):
    """Calls of planner in a script, with their variables filled in."""
    for line in text.splitlines():
        found = re.search(r"(?:^|\s)planner (.*?)(?:\s*\|\|.*)?$", line)
        if found and found[1].split()[0] in cli.list_commands(None):
            call = found[1]
            for name, value in VARIABLES.items():
                call = call.replace(f'"{name}"', value).replace(name, value)
            yield shlex.split(re.sub(r'"\$\w+"', "HEAD", call))


def parse(arguments):
    """Raises click's error for a flag that there is not, or a value that is no value of it."""
    name, *rest = arguments
    cli.get_command(None, name).make_context(name, rest)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_loads(path):
    assert loaded(path)


def test_every_command_of_a_script_parses():
    found = [
        arguments
        for path in FOLDER.rglob("*.y*ml")
        for text in scripts(loaded(path))
        for arguments in commands(text)
    ]
    assert len(found) >= 2
    for arguments in found:
        parse(arguments)


def test_every_command_of_the_page_parses():
    page = (FOLDER / "index.md").read_text(encoding="utf-8")
    found = [
        a for block in re.findall(r"```console\n(.*?)```", page, re.S) for a in commands(block)
    ]
    assert len(found) == 4
    for arguments in found:
        parse(arguments)


def hooks():
    local = loaded(FOLDER / "pre-commit" / "pre-commit-config.yaml")["repos"]
    return [*loaded(HOOKS), *(hook for repo in local for hook in repo["hooks"])]


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: f"{hook['id']}-{hook['language']}")
def test_a_hook_is_called_as_pre_commit_calls_it(hook):
    """Entry, its arguments, then the files that are staged."""
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    program, *entry = shlex.split(hook["entry"])
    assert program == "planner"
    parse([*entry, *hook["args"], "a/project.yaml", "b/project.yml"])
    pattern = re.compile(hook["files"])
    assert pattern.search("deep/project.yaml") and pattern.search("project.yml")
    assert not pattern.search("deep/my_project.yaml") and not pattern.search("project.yaml.bak")


def test_pre_commit_takes_the_hooks():
    pytest.importorskip("pre_commit")
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", str(HOOKS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = FOLDER / "pre-commit" / "pre-commit-config.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(config)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_takes_what_its_workflow_gives():
    action, workflow = (
        loaded(FOLDER / "github" / f"{name}.yml") for name in ("action", "workflow")
    )
    steps = workflow["jobs"]["diff"]["steps"]
    (step,) = [one for one in steps if "planner-diff" in one.get("uses", "")]
    assert set(step["with"]) <= set(action["inputs"])
    assert action["runs"]["using"] == "composite"
    assert all(one["shell"] for one in action["runs"]["steps"])


@pytest.mark.parametrize("name", ["action", "workflow"])
def test_nothing_from_outside_is_part_of_a_script(name):
    """A branch called ``$(…)`` would run (docs.github.com, script injections): expressions stand in
    ``env``, and variables in quotes."""
    for text in scripts(loaded(FOLDER / "github" / f"{name}.yml")):
        assert "${{" not in text
        assert not re.search(r'(?<!["\w{])\$(?!GITHUB_)[A-Z_]+\b(?!")', text)


def scripts(node):
    if isinstance(node, dict):
        for key in ("run", "script", "before_script"):
            yield from texts(node.get(key))
        for value in node.values():
            yield from scripts(value)
    elif isinstance(node, list):
        for value in node:
            yield from scripts(value)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("percent, code", [("5", 1), ("", 0)])
def test_the_actions_script_runs(tmp_path, percent, code):
    """In a real repository, with a command ``planner`` that is this one."""
    steps = loaded(FOLDER / "github" / "action.yml")["runs"]["steps"]
    script = next(one["run"] for one in steps if one.get("id") == "diff")
    path = tmp_path / "project.yaml"

    def commit(samples):
        path.write_text(
            f"model: Llama-3.2-1B\nsamples: {samples}\ntokens_per_sample: 100\n"
            "gpu: h100\nstrategy: lora\n"
        )
        for arguments in (["add", "-A"], ["commit", "-q", "-m", "x"]):
            subprocess.run(
                ["git", "-c", "user.email=a@b.c", "-c", "user.name=n", *arguments],
                cwd=tmp_path, check=True, capture_output=True,
            )  # fmt: skip

    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, capture_output=True)
    commit(1000)
    commit(90_000)
    tools = tmp_path / "tools"
    tools.mkdir()
    own = tools / "planner"
    own.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from planner.cli.main import main\nmain()\n"
    )
    own.chmod(0o755)
    env = os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PROJECTS": "project.yaml",
        "BASE": "HEAD~1",
        "HEAD": "HEAD",
        "MAX_INCREASE_USD": "",
        "MAX_INCREASE_PERCENT": percent,
        "COMMENT": str(tmp_path / "d.md"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    comment = (tmp_path / "d.md").read_text(encoding="utf-8")
    assert "samples: 1,000 → 90,000" in comment
    assert (tmp_path / "summary").read_text(encoding="utf-8") == comment
    assert f"comment={tmp_path / 'd.md'}" in (tmp_path / "output").read_text(encoding="utf-8")
    assert ("more are allowed" in done.stderr) == bool(code)
