"""A project at another revision of its git repository, read and never checked out.

Only objects are read (``cat-file``, ``ls-tree``): no hook, filter, pager or editor of the
repository runs, nothing is fetched, the working tree stays as it is. Names that lead out of the
project's folder are refused.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from planner.diff.side import Side, of_project
from planner.errors import FieldName, MachineError, QuestionError
from planner.question.files.project_file import PATHS
from planner.question.importers import importer_of
from planner.question.parsing import is_file

#: The staged version of a file, in git's own spelling.
STAGED = ":0"
#: A project's data beyond this is not copied out of a repository.
MOST_BYTES = 2 * 2**30
SECONDS = 60
_FILE, _FOLDER, _MODES = "blob", "tree", ("100644", "100755")
#: Nothing of a repository is run, fetched or asked.
_QUIET = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C",
}
_FOLDERS, _INDEX = ("GIT_DIR", "GIT_WORK_TREE", "GIT_PREFIX"), "GIT_INDEX_FILE"


@dataclass(frozen=True)
class Repository:
    """``prefix``: the project's folder inside it, "" or ending in a slash."""

    folder: Path
    prefix: str

    def git(self, *arguments: str) -> bytes:
        """Raises QuestionError with git's own words."""
        command = ["git", "-c", "core.fsmonitor=false", "-C", str(self.folder), *arguments]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise MachineError("git is not installed", where=FieldName("at")) from None
        except subprocess.TimeoutExpired:
            raise MachineError("git does not answer", where=str(self.folder)) from None
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            said = words[0].removeprefix("fatal: ")[:200] if words else "git failed"
            raise QuestionError(said, where=str(self.folder))
        return done.stdout


def _environment() -> dict[str, str]:
    """Inside of a hook git names its own folder and index from the top of the work tree: the folder
    is found anew, the index keeps its place."""
    found = {name: value for name, value in os.environ.items() if name not in _FOLDERS}
    if _INDEX in found:
        found[_INDEX] = os.path.abspath(found[_INDEX])
    return found | _QUIET


def repository_of(project: Path) -> Repository:
    """Raises QuestionError where the project lies in none."""
    folder = project.parent if project.parent.parts else Path(".")
    if not folder.is_dir():
        raise QuestionError("no such folder", where=str(folder))
    bare = Repository(folder, "")
    return Repository(folder, bare.git("rev-parse", "--show-prefix").decode().rstrip("\n"))


def at_revision(project: Path, revision: str, target: Path) -> Side | None:
    """The project file as it stood, with the data and folders that it names and that stood beside
    it, written into ``target``; what the revision does not hold is taken from the working tree.
    None where the revision holds no such file. Raises QuestionError for a revision that is not
    there."""
    repository = repository_of(project)
    start = _commit(repository, revision)
    label = f"{project.name} at {'the index' if revision == STAGED else revision}"
    spec = f"{start}:{repository.prefix}{project.name}"
    try:
        text = repository.git("cat-file", _FILE, spec)
    except QuestionError:
        return None
    copied = target / project.name
    copied.write_bytes(text)
    notes = tuple(_beside(repository, start, text, project, target, label))
    return of_project(copied, label, notes)


def _commit(repository: Repository, revision: str) -> str:
    """The commit's own name: what is typed is never taken for an option."""
    if revision == STAGED:
        return STAGED
    try:
        found = repository.git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
    except QuestionError:
        raise QuestionError(
            "no such revision",
            where=revision,
            mend="git log --oneline lists them; git fetch brings what is not here",
        ) from None
    return found.decode().strip()


def _beside(
    repository: Repository, start: str, text: bytes, project: Path, target: Path, label: str
) -> Iterator[str]:
    """Copy what the project file names; a sentence for each that the revision does not hold."""
    for name, value in _paths(text):
        inside = _inside(value)
        if inside is None:
            continue
        if _copied(repository, start, inside, target):
            continue
        own = (project.parent / inside).absolute()
        if own.exists():
            # a file of the working tree stands in for it, found by its place in the copy
            place = target / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(own)
            yield f"{label}: {name} {value} is not in that revision, the working tree's is taken"


def _paths(text: bytes) -> Iterator[tuple[str, str]]:
    """(key, relative path) of what a project file may name."""
    import yaml

    try:
        keys = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # reading the file says what is wrong with it
    if not isinstance(keys, dict) or importer_of(str(key) for key in keys) is not None:
        return
    for name in PATHS:
        value = keys.get(name)
        if isinstance(value, str) and not is_file(value) and not os.path.isabs(value):
            yield name, value


def _inside(value: str) -> PurePosixPath | None:
    """A path that stays in the project's folder; None for any other."""
    path = PurePosixPath(value)
    parts = path.parts
    if not parts or path.is_absolute() or ".." in parts or "\0" in value or ".git" in parts:
        return None
    return path


def _copied(repository: Repository, start: str, inside: PurePosixPath, target: Path) -> bool:
    """Whether the revision holds the file or folder, which then lies under ``target``."""
    whole = f"{repository.prefix}{inside}"
    listed = list(_listed(repository, start, whole))
    size = sum(one[2] for one in listed)
    if size > MOST_BYTES:
        raise QuestionError(
            f"holds {size:,} bytes of {inside}, more than is copied out of a repository",
            where=start,
        )
    for path, identity, _ in listed:
        own = _inside(path.removeprefix(repository.prefix))
        if own is None:
            continue
        place = target / own
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(repository.git("cat-file", _FILE, identity))
    return bool(listed)


def _listed(repository: Repository, start: str, whole: str) -> Iterator[tuple[str, str, int]]:
    """(path, object, bytes) of the plain files at or under a path: links and submodules are left
    out."""
    if start == STAGED:
        arguments = ("ls-files", "--stage", "-z", "--full-name", "--", f":(top,literal){whole}")
        for entry in _entries(repository.git(*arguments)):
            about, _, path = entry.partition("\t")
            mode, identity, _ = about.split()
            if mode in _MODES:
                size = int(repository.git("cat-file", "-s", identity))
                yield path, identity, size
        return
    arguments = ("ls-tree", "-r", "-z", "-l", "--full-tree", start, "--", whole)
    for entry in _entries(repository.git("--literal-pathspecs", *arguments)):
        about, _, path = entry.partition("\t")
        mode, kind, identity, size = about.split()
        if kind == _FILE and mode in _MODES:
            yield path, identity, int(size)


def _entries(made: bytes) -> list[str]:
    return [one for one in os.fsdecode(made).split("\0") if one]
