"""Shapes that are tried of a class's arguments, and classes that the task of their name cannot
feed: small ones, traced."""

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from planner.models.building.tasks.base import Feed  # noqa: E402
from planner.models.building.tasks.own_inputs import inputs, left_out  # noqa: E402
from planner.models.building.tasks.own_sound import sounds  # noqa: E402
from planner.models.class_names import class_task  # noqa: E402


def feed(module, **config):
    return Feed(module, SimpleNamespace(**config), torch.float32, None, "small")


class Pairs(torch.nn.Module):
    """Reads pairs of images."""

    def __init__(self):
        super().__init__()
        self.read = torch.nn.Conv2d(3, 4, 3, device="meta")

    def forward(self, pixel_values):
        if pixel_values.dim() != 5 or pixel_values.shape[1] != 2:
            raise ValueError("pairs of images")
        return self.read(pixel_values.flatten(0, 1))


class WithTrimap(torch.nn.Module):
    """Reads images with one channel more."""

    def __init__(self):
        super().__init__()
        self.read = torch.nn.Conv2d(4, 4, 3, device="meta")

    def forward(self, pixel_values):
        return self.read(pixel_values)


class Pages(torch.nn.Module):
    """Does nothing without boxes, which are shares of a page."""

    def forward(self, input_ids, bbox=None):
        if bbox is None:
            raise ValueError("You have to specify bbox")
        if not bbox.is_floating_point():
            raise ValueError("shares of a page")
        return bbox.sum() + input_ids.sum()


class EitherSense(torch.nn.Module):
    main_input_name = "input_features"

    def forward(self, input_ids=None, input_features=None):
        if input_ids is not None and input_features is not None:
            raise ValueError("both")
        return input_features.sum()


class AsksData(torch.nn.Module):
    """Its images have a shape that only data goes on from."""

    def forward(self, pixel_values):
        if pixel_values.dim() != 5:
            raise ValueError("five dimensions")
        return pixel_values.nonzero()


class Decoder(torch.nn.Module):
    """Writes, from a decoder's inputs, or from labels that it shifts itself."""

    def forward(self, pixel_values, decoder_input_ids=None, labels=None):
        if decoder_input_ids is None and labels is None:
            raise ValueError("nothing to write")
        return pixel_values.sum()


class Robot(torch.nn.Module):
    def forward(self, state, actions=None):
        return state.sum() + actions.sum()


class Unknown(torch.nn.Module):
    def forward(self, state):
        return state


SIZED = {"image_size": 32, "num_channels": 3}


@pytest.mark.parametrize(
    ("module", "config", "shapes"),
    [
        (Pairs(), SIZED, {"pixel_values": (2, 2, 3, 32, 32)}),
        (WithTrimap(), SIZED, {"pixel_values": (2, 4, 32, 32)}),
        (Pages(), {}, {"input_ids": (2, 5), "bbox": (2, 5, 4)}),
        (EitherSense(), {"num_mel_bins": 8}, {"input_features": (2, 100, 8)}),
        (Decoder(), SIZED, {"pixel_values": (2, 3, 32, 32), "decoder_input_ids": (2, 5)}),
        (
            Robot(),
            {"max_state_dim": 6, "max_action_dim": 7, "chunk_size": 9},
            {"state": (2, 6), "actions": (2, 9, 7)},
        ),
        (AsksData(), SIZED, {"pixel_values": (2, 1, 3, 32, 32)}),
    ],
)
def test_the_first_shape_that_its_code_runs_with_is_taken(module, config, shapes):
    found = inputs(feed(module, **config), 2, 5, {})
    assert {name: tuple(value.shape) for name, value in found.items()} == shapes


def test_what_is_known_by_name_and_not_given_is_told():
    fed = feed(EitherSense(), num_mel_bins=8)
    assert left_out(fed, inputs(fed, 2, 5, {})) == ("input_ids",)


def test_the_same_shape_is_taken_at_every_size():
    fed = feed(Pairs(), **SIZED)
    inputs(fed, 2, None, {})
    assert inputs(fed, 3, None, {})["pixel_values"].shape == (3, 2, 3, 32, 32)


def test_an_argument_of_unknown_shape_is_named():
    from planner.errors import ModelError

    with pytest.raises(ModelError, match="fed with state"):
        inputs(feed(Unknown()), 2, 5, {})


def test_sound_is_as_many_bands_as_a_part_of_the_config_says():
    part = SimpleNamespace(num_mel_bins=8, to_diff_dict=None)
    fed = Feed(None, SimpleNamespace(encoder_config=part), torch.float32, 1600, "small")
    found = [tuple(sound.shape) for sound in sounds(fed, 2)]
    assert found == [(2, 10, 8), (2, 8, 10), (2, 1600), (2, 1, 1600)]


@pytest.mark.parametrize(
    "name",
    [
        "OneFormerForUniversalSegmentation",
        "BrosForTokenClassification",
        "VisionEncoderDecoderModel",
    ],
)
def test_classes_that_the_task_of_their_name_cannot_feed_have_none(name):
    row = class_task(name)
    assert row is not None and not row.tasks and row.nearest is None
