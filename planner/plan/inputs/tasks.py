"""What model and data make of a question together: the task where neither the question nor the
model's class settles one, an adapter's settings, lengths that are too short to be traced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.models.configs import model_types
from planner.models.constants import has
from planner.models.facts import ModelFacts
from planner.models.resolve import resolve
from planner.plan.inputs.families.needed import ANNOTATED
from planner.question import Question
from planner.question.adapters import LORA
from planner.question.training_setting import SUPERVISED
from planner.trace.table import SHORTEST

#: Tasks whose loss is taken against the rest of a micro-batch, in words.
IN_BATCH = {
    "text_embedding": "a query is told from the other positives",
    "contrastive": "an image is told from the other texts, a text from the other images",
}
#: What a model that writes may be trained on, by what the data holds.
SEEING = ("causal_lm", "image_text_to_text")
#: What a dataset's columns alone tell that it is for, in words.
TOLD = {
    "question_answering": "the data says where answers begin",
    "token_classification": "the data has a tag for each token",
    "text_embedding": "the data has texts beside those that answer them",
}
SPEECH = ("speech_recognition", "audio_classification")


def by_data(
    question: Question,
    facts: ModelFacts,
    data: DatasetProfile,
    read_again: Callable[[ModelFacts], DatasetProfile],
) -> tuple[ModelFacts, DatasetProfile]:
    """Model and data under the task that the data asks for; as they are where the question names
    one, a class settles it, or the data fits. ``read_again``: the data as that task reads it."""
    task, reason = _wanted(question, facts, data)
    if task is None or task == facts.task:
        return facts, data
    other = resolve(
        question.model,
        task=task,
        trust_remote_code=question.trust_remote_code,
        offline=question.offline,
    )
    said = FirstLine("task", f"trained as {task}: {reason}; {FieldName('task')} changes it")
    kept = [line for line in facts.first_lines if line.topic != "task"]
    other = replace(other, first_lines=(*kept, said))
    return other, read_again(other)


def _wanted(question: Question, facts: ModelFacts, data: DatasetProfile) -> tuple[str | None, str]:
    """(task, why) of the data, (None, "") where it says nothing that this model may follow."""
    if question.task is not None or facts.library != "transformers":
        return None, ""
    possible = model_types().get((facts.config or {}).get("model_type", ""), frozenset())
    task, reason = _of_data(question, facts, data, possible)
    free = (
        facts.task_is_open
        or task in SEEING
        and facts.task in SEEING
        or facts.task in SPEECH
        or facts.task == "contrastive"
    )
    return (task, reason) if free and task in possible else (None, "")


def _of_data(
    question: Question, facts: ModelFacts, data: DatasetProfile, possible: frozenset[str]
) -> tuple[str | None, str]:
    if question.objective not in (None, SUPERVISED) and facts.task == "image_text_to_text":
        return "causal_lm", "objectives are planned on text"
    labelled = bool(question.classes) or (data.classes or 0) > 1
    if data.modality == "audio" and data.target_lengths is not None:
        return "speech_recognition", "the sounds have transcripts"
    if data.modality == "audio" and labelled:
        return "audio_classification", "the sounds have classes"
    if data.format in ANNOTATED:
        first = next((task for task in ANNOTATED[data.format] if task in possible), None)
        return first, "the images have boxes or masks"
    pictured = data.modality == "image_text" or bool(data.images_per_sample)
    if pictured and facts.task == "causal_lm":
        return "image_text_to_text", "the data holds images"
    alone = data.modality == "text" and not pictured and data.source != "counts"
    if alone and facts.task == "image_text_to_text":
        return "causal_lm", "the data holds text alone"
    if data.modality == "image" and labelled:
        return "image_classification", "the images have classes"
    if data.source == "counts" or data.modality != "text":
        return None, ""
    return _of_text(facts, data, labelled, possible)


def _of_text(
    facts: ModelFacts, data: DatasetProfile, labelled: bool, possible: frozenset[str]
) -> tuple[str | None, str]:
    """An encoder classifies labelled text and fills masks in other text; a decoder writes."""
    if facts.task_is_open and data.told_task in TOLD and data.told_task in possible:
        if facts.task != "reranking" and "masked_lm" in possible:
            return data.told_task, TOLD[data.told_task]
    if facts.task in ("text_embedding", "reranking") and data.columns.get("kind") != "text":
        return None, ""
    if facts.task == "token_classification" or "masked_lm" not in possible:
        return None, ""
    if labelled:
        return "text_classification", "the text has labels"
    if data.target_lengths is None and facts.task != "question_answering":
        return "masked_lm", "the text has no labels"
    return None, ""


def adapted(question: Question, facts: ModelFacts) -> Question:
    """The question with the settings of the adapter that its model is, where it asks for no others;
    of another method than its own none."""
    adapter = facts.adapter
    if adapter is None or adapter.settings is None:
        return question
    own = adapter.settings
    if question.adapter not in (None, own.get("adapter", LORA)):
        return question
    unasked = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in own.items()
        if name not in question.model_fields_set
    }
    return question.model_copy(update=unasked)


def with_negatives(question: Question, facts: ModelFacts, data: DatasetProfile) -> DatasetProfile:
    """The data with as many hard negatives a query as are asked for, as the data has them
    otherwise; none for what embeds no texts."""
    embeds = (question.task or facts.task) == "text_embedding"
    asked = data.negatives if question.negatives is None else question.negatives
    return replace(data, negatives=(asked or None) if embeds else None)


def task_lines(facts: ModelFacts) -> list[FirstLine]:
    """What a task asks of a run, or assumes, that its name does not say."""
    if facts.task in IN_BATCH:
        text = (
            f"{IN_BATCH[facts.task]} of its micro-batch: accumulation and more devices add none, "
            "and a cached loss (GradCache) is not covered; "
            f"{FieldName('micro_batch')} sets how many"
        )
        return [FirstLine("run", text)]
    if has("scan_kernels", (facts.config or {}).get("model_type", "")):
        text = (
            "its scans are priced as the kernels of mamba-ssm and causal-conv1d, which have to be "
            "installed: without them every layer loops over the tokens, many times slower"
        )
        return [FirstLine("model", text, warning=True)]
    if facts.task == "text_to_speech":
        text = "the vocoder, which makes sound of the spectrograms, is not trained"
        return [FirstLine("run", text)]
    return []


def shortest_lines(data: DatasetProfile, max_length: int | None) -> list[FirstLine]:
    """What is said where every sample is shorter than the shortest length that is traced."""
    lengths = [side for side in (data.lengths, data.target_lengths) if side is not None]
    if not any(side.max() < SHORTEST for side in lengths) and (max_length or SHORTEST) >= SHORTEST:
        return []
    text = f"samples of one token are priced at {SHORTEST}, the shortest length that is traced"
    return [FirstLine("data", text)]
