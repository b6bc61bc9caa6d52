"""A job done: the same question as on the command line, with what earlier ones left."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from planner.errors import MachineError, PlannerError, QuestionError, fields_spelled
from planner.plan.inputs.kept import Kept, keeping
from planner.question import Question
from planner.serve.asked import asked, spelled
from planner.serve.work.job import Answered, Job, Refused, Reply, Unrecorded
from planner.trace.source import NotRecordedError, Progress

UNEXPECTED = "the planner failed at this question; its own log says more"
MEDIA = {
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


class Answerer:
    """Answers jobs one after another. ``record``: whether it may record traces; ``online``: whether
    it may ask the network for a model's config."""

    def __init__(self, *, record: bool = True, online: bool = False) -> None:
        self.kept, self.online = Kept(record=record), online

    def answer(self, job: Job, progress: Progress | None = None) -> Reply:
        """Every failure is a reply; a bug's traceback goes to standard error alone."""
        try:
            with keeping(self.kept):
                return self._answered(job, progress)
        except NotRecordedError:
            return Unrecorded()
        except PlannerError:
            return self._refused(job)
        except Exception:
            _log()
            return Refused(UNEXPECTED, status=500)

    def _answered(self, job: Job, progress: Progress | None) -> Reply:
        if job.kind == "count":
            from planner.serve.work.counting import counted

            return Answered(_json(counted(job, progress)))
        question = asked(job.fields, online=self.online)
        if job.kind == "choose":
            from planner.choose.decision import decide

            return Answered(_json(decide(question, progress)))
        if job.kind == "report":
            return self._report(question, job.suffix, progress)
        from planner.answer.estimate import estimate

        return Answered(_json(estimate(question, progress=progress)))

    def _report(self, question: Question, suffix: str, progress: Progress | None) -> Reply:
        from planner.report.formats.registry import formats_of

        known = formats_of("answer")
        if suffix not in known:
            raise QuestionError(
                f"{suffix!r} is no report format", mend=f"Formats: {', '.join(known)}"
            )
        made = known[suffix].render(_reported(question, progress))
        body = made.encode("utf-8", "replace") if isinstance(made, str) else made
        return Answered(body, MEDIA.get(suffix, "application/octet-stream"))

    def _refused(self, job: Job) -> Refused:
        """Asked again with the fields called by their names: what is refused is refused at once."""
        try:
            with keeping(self.kept), fields_spelled(spelled):
                self._answered(job, None)
        except PlannerError as error:
            return refusal(error)
        except Exception:
            _log()
        return Refused(UNEXPECTED, status=500)


def _reported(question: Question, progress: Progress | None) -> dict:
    """What a report is made of: the answer with its budget."""
    if importlib.util.find_spec("planner.budget.make") is None:
        from planner.answer.estimate import estimate

        return estimate(question, progress=progress)
    return importlib.import_module("planner.budget.make").budget(question, progress)


def refusal(error: PlannerError) -> Refused:
    """Without where this machine keeps its files."""
    status = 503 if isinstance(error, MachineError) else 422
    where = None if error.where is None else _plain(str(error.where))
    mend = None if error.mend is None else _plain(error.mend)
    return Refused(_plain(error.what), where, mend, error.fields, status)


def _plain(text: str) -> str:
    """One line that names no home folder."""
    return " ".join(text.replace(str(Path.home()), "~").split())


def _json(document: dict) -> bytes:
    """As ``planner estimate --json``, without the blanks. Figures are finite: NaN would not be
    JSON."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _log() -> None:
    import traceback

    traceback.print_exc()
