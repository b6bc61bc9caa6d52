"""What default configs leave open: filled in, and said."""

import json
from types import SimpleNamespace

import pytest

from planner.libraries import import_library
from planner.models.building.build import build
from planner.models.building.sight.left_open import fill_in, give_size
from planner.models.resolve import resolve

pytest.importorskip("transformers")


@pytest.fixture
def library():
    """transformers as the planner imports it."""
    return import_library("transformers", "images of families")


def made(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return build(resolve(str(tmp_path), offline=True))


def test_ids_that_stand_for_images_are_the_last_of_the_vocabulary():
    text = SimpleNamespace(vocab_size=100)
    config = SimpleNamespace(image_token_id=None, video_token_id=None, get_text_config=lambda: text)
    said = fill_in(config)
    assert (config.image_token_id, config.video_token_id) == (99, 98)
    assert "no image_token_id, no video_token_id" in said[0]


def test_ids_that_a_config_states_stay():
    text = SimpleNamespace(vocab_size=100)
    config = SimpleNamespace(image_token_id=7, pad_token_id=None, get_text_config=lambda: text)
    assert fill_in(config) == ()
    assert config.image_token_id == 7 and config.pad_token_id is None


def test_lists_of_an_entry_a_class_are_as_long_as_there_are_classes():
    config = SimpleNamespace(
        num_labels=3,
        class_thresholds=None,
        class_order=None,
        get_text_config=lambda: SimpleNamespace(),
    )
    said = fill_in(config)
    assert config.class_thresholds == [0.5] * 3 and config.class_order == [0, 1, 2]
    assert "an entry a class" in said[0]


def test_a_classifier_s_images_are_of_the_usual_size(tmp_path):
    built = made(
        tmp_path,
        {
            "model_type": "resnet",
            "architectures": ["ResNetForImageClassification"],
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "num_labels": 5,
        },
    )
    assert built.batch(2)["pixel_values"].shape == (2, 3, 224, 224)
    assert any("224 × 224" in text for text in built.assumptions)


def test_an_image_size_that_is_asked_for_is_taken(library):
    config = SimpleNamespace(model_type="resnet", num_channels=3)
    assert give_size(library, config, "image_classification", 64) == ()
    assert not hasattr(config, "image_size")


def test_images_too_small_for_the_places_they_fill_become_as_large_as_need_be(library):
    vision = SimpleNamespace(image_size=224, patch_size=16)
    config = SimpleNamespace(model_type="gemma3", vision_config=vision, mm_tokens_per_image=256)
    said = give_size(library, config, "custom", None)
    assert vision.image_size == 256 and "256 × 256" in said[0]


def test_images_that_fill_their_places_stay_as_they_are(library):
    vision = SimpleNamespace(image_size=224, patch_size=14)
    config = SimpleNamespace(model_type="gemma3", vision_config=vision, mm_tokens_per_image=256)
    assert give_size(library, config, "custom", None) == ()
    assert vision.image_size == 224


def test_layers_of_a_part_are_not_skipped_at_random(tmp_path):
    encoder = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "layerdrop": 0.5,
    }
    built = made(
        tmp_path,
        {
            "model_type": "parakeet_ctc",
            "architectures": ["ParakeetForCTC"],
            "encoder_config": {"model_type": "parakeet_encoder", **encoder},
        },
    )
    assert built.module.config.encoder_config.layerdrop == 0


def test_a_decoder_that_classifies_finds_its_padding_token_in_its_text_part():
    from planner.models.building.tasks.text import classifier_config

    text = SimpleNamespace(pad_token_id=None)
    config = SimpleNamespace(num_labels=2, pad_token_id=None, get_text_config=lambda: text)
    classifier_config(config, None)
    assert config.pad_token_id == 0 and text.pad_token_id == 0


def test_a_decoder_among_the_encoder_decoders_reads_and_writes_one_sequence():
    from planner.models.building.tasks.base import Feed, training_task

    alone = training_task("seq2seq_lm", SimpleNamespace(is_encoder_decoder=False))
    batch = alone.batch(Feed(None, None, None, None, "small"), 2, 5, 3)
    assert batch["input_ids"].shape == (2, 8) and batch["labels"] is batch["input_ids"]
    other = training_task("seq2seq_lm", SimpleNamespace(is_encoder_decoder=True))
    assert other.batch(Feed(None, None, None, None, "small"), 2, 5, 3)["labels"].shape == (2, 3)
