"""Images as denoisers are trained on them: with captions, with classes, or a few of one subject
that share a prompt (DreamBooth)."""

from __future__ import annotations

from dataclasses import replace

from planner.datasets.profile import DatasetProfile
from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.models.facts import ModelFacts
from planner.models.pipelines import TASK, pipeline_of
from planner.plan.inputs.rows import default
from planner.question import Question

#: What the data is, by which published recipes are found (``profiles/recipes/tasks.csv``).
CAPTIONED, OF_ONE_SUBJECT = "captioned images", "instance images"


def painted(facts: ModelFacts, data: DatasetProfile, assumptions: list[str]) -> DatasetProfile:
    """The data of a denoiser: images, whose captions are padded to one length. Its format says
    whether they have captions."""
    if facts.task != TASK or data.modality not in ("image", "image_text"):
        return data
    tokens = pipeline_of(facts.config or {}, facts.name).caption_tokens
    if tokens is None:
        return data if data.modality == "image" else replace(data, modality="image", lengths=None)
    few = data.samples <= default("instance_images_most", facts.task)[0]
    captioned = data.lengths is not None or (data.source == "counts" and not few)
    kind = CAPTIONED if captioned else OF_ONE_SUBJECT
    if captioned:
        assumptions.append(f"every caption is padded to {tokens} tokens, as the scripts do")
    return replace(data, modality="image", lengths=None, target_lengths=None, format=kind)


def picture_lines(question: Question, facts: ModelFacts, data: DatasetProfile) -> list[FirstLine]:
    """What is said first of a denoiser's frozen parts and its data. Raises QuestionError for prior
    preservation where no images share a prompt."""
    if facts.task != TASK or facts.library != "diffusers":
        return []
    lines = [_frozen_line(question, facts)]
    if data.format == OF_ONE_SUBJECT:
        return [*lines, _subject_line(question, data)]
    if question.prior_preservation:
        raise QuestionError(
            "is of DreamBooth, whose images have no captions",
            where=FieldName("prior_preservation"),
            mend="Leave it out, or give a folder of some images of one subject",
        )
    return lines


def _frozen_line(question: Question, facts: ModelFacts) -> FirstLine:
    row = pipeline_of(facts.config or {}, facts.name)
    encoders = sum(part.startswith("text_encoder") for part in row.parts)
    frozen = "the autoencoder"
    if encoders:
        frozen += f" and {encoders} text encoder{'s' if encoders > 1 else ''}"
    if question.cached_features:
        how = f"run once before, their outputs are read back ({FieldName('cached_features')})"
    else:
        how = (
            f"run in every step, as in {row.script}; {FieldName('cached_features')} runs them once"
        )
    return FirstLine("run", f"frozen: {frozen} {how}")


def _subject_line(question: Question, data: DatasetProfile) -> FirstLine:
    if question.prior_preservation:
        prior = (
            "each step takes an image of the class for each of the subject's "
            f"({FieldName('prior_preservation')}), which doubles its batch; making the class's "
            "images is not counted"
        )
    else:
        prior = f"no images of the class; {FieldName('prior_preservation')} adds them"
    text = f"DreamBooth: {data.samples:,} images without captions share one prompt; {prior}"
    return FirstLine("data", text)
