"""Data that is only counts: what is given, what follows from it, and what is said of the rest."""

import pytest

from planner.datasets.profile import DatasetProfile, from_counts
from planner.errors import QuestionError
from planner.models.resolve import resolve
from planner.plan.inputs.counts import assumed_seconds, counted, said_of
from planner.plan.inputs.defaults import _audio_samples
from planner.question import Question

AUDIO = "wav2vec2-base"


def data_of(model: str = AUDIO, **fields) -> tuple[DatasetProfile, list[str], list[bool]]:
    question = Question(model=model, **fields)
    facts = resolve(model, offline=True)
    data = counted(question, facts)
    lines = said_of(question, facts, data)
    return data, [line.text for line in lines], [line.warning for line in lines]


def test_an_assumed_clip_is_the_first_warning_with_the_flags_that_mend_it():
    data, lines, warns = data_of(samples=51094)
    each = assumed_seconds(resolve(AUDIO, offline=True))
    assert data.audio_seconds.tolist() == [each]
    assert "51,094 clips of 10 s, 141.9 hours" in lines[0] and warns[0]
    assert "--seconds-per-sample" in lines[0] and "--audio-hours" in lines[0]


@pytest.mark.parametrize(
    ("fields", "samples", "seconds"),
    [
        ({"samples": 3600, "seconds_per_sample": 1.5}, 3600, 1.5),
        ({"samples": 3600, "audio_hours": 2.0}, 3600, 2.0),
        ({"audio_hours": 2.0, "seconds_per_sample": 4.0}, 1800, 4.0),
        ({"samples": 1800, "audio_hours": 2.0, "seconds_per_sample": 4.0}, 1800, 4.0),
    ],
)
def test_two_of_three_give_the_third_and_are_echoed(fields, samples, seconds):
    data, lines, warns = data_of(**fields)
    assert data.samples == samples and data.audio_seconds.tolist() == [seconds]
    assert f"{samples:,} clips of {seconds:g} s" in lines[0] and not warns[0]
    assert "assumed" not in lines[0]


def test_hours_alone_name_the_assumed_clip():
    data, lines, warns = data_of(audio_hours=10)
    assert data.samples == 3600 and warns[0] and "10 hours" in lines[0]


def test_contradictions_and_other_models_are_refused():
    with pytest.raises(QuestionError, match="14.19 hours, not 100"):
        data_of(samples=51094, seconds_per_sample=1, audio_hours=100)
    with pytest.raises(QuestionError, match="gpt2 reads text, not sounds"):
        data_of("gpt2", audio_hours=3)
    with pytest.raises(QuestionError, match="data has its own lengths"):
        Question(model=AUDIO, data="folder", seconds_per_sample=3)
    with pytest.raises(QuestionError, match="no data"):
        Question(model=AUDIO, seconds_per_sample=3)


@pytest.mark.parametrize(
    ("seconds", "waveform"), [(1.0, 16_000), (1.0005, 16_000), (1.04, 17_600), (0.01, 1_600)]
)
def test_the_waveform_is_as_long_as_the_clip(seconds, waveform):
    data = from_counts(10, modality="audio", seconds_per_sample=seconds)
    facts = resolve(AUDIO, offline=True)
    assert _audio_samples(facts, data, "audio_classification") == waveform


def test_images_and_classes_are_echoed():
    _, lines, _ = data_of("resnet50", samples=1000)
    assert "1,000 images, trained at 224 × 224 pixels" in lines[0] and "--image-size" in lines[0]
    assert "--classes" in lines[1] and "not known" in lines[1]
    _, lines, _ = data_of("resnet50", samples=1000, image_size=96, classes=7)
    assert "96 × 96 pixels, as asked" in lines[0] and lines[1] == "7 classes (from --classes)"
    _, lines, _ = data_of("gpt2", samples=1000, tokens_per_sample=5)
    assert lines == []
