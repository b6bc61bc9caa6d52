"""Images of configs that do not say how large theirs are."""

from types import SimpleNamespace

from planner.models.building.sight.processors import processor_size, sees
from planner.models.tasks import modality_in


class Rectangle:
    size = {"height": 48, "width": 320}


class Cropped:
    size, crop_size, do_center_crop = {"shortest_edge": 256}, 224, True


class Kept:
    size = None


LIBRARY = SimpleNamespace(
    Rectangle=Rectangle,
    Cropped=Cropped,
    Kept=Kept,
    models=SimpleNamespace(
        auto=SimpleNamespace(
            image_processing_auto=SimpleNamespace(
                IMAGE_PROCESSOR_MAPPING_NAMES={
                    "reads": {"missing": "NotInstalled", "pil": "Rectangle"},
                    "crops": {"pil": "Cropped"},
                    "keeps": {"pil": "Kept"},
                }
            )
        )
    ),
)


def test_the_first_processor_that_is_there_says_the_size():
    assert processor_size(LIBRARY, "reads") == (48, 320)
    assert processor_size(LIBRARY, "crops") == (224, 224)
    assert processor_size(LIBRARY, "keeps") is None
    assert processor_size(LIBRARY, "nobody") is None


def test_who_is_fed_with_images_of_the_family_s_own_size():
    config = SimpleNamespace(num_channels=3)
    assert sees("object_detection", config) and sees("image_classification", config)
    assert sees("custom", config) and not sees("custom", SimpleNamespace())
    assert not sees("causal_lm", config)


def test_what_writes_sound_as_tokens_reads_tokens():
    tokens = {"architectures": ["SomeAudioForConditionalGeneration"], "vocab_size": 100}
    assert modality_in(tokens, "custom") == "text"
    assert modality_in({"architectures": ["SomeAudioModel"]}, "custom") == "audio"
