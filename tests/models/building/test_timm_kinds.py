"""Models of timm that are no plain classifiers of images in four dimensions."""

import pytest

torch = pytest.importorskip("torch")
from planner.models.building.vision import AS_THEY_LIE, _layout, build_vision  # noqa: E402
from planner.models.building.wrapping import HEADLESS, with_classifier  # noqa: E402


class Encoder(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(8, 8)])

    def forward(self, images):
        return torch.ones(len(images), *self.shape)


@pytest.mark.parametrize("shape", [(8,), (5, 8), (8, 8), (8, 3, 3), (3, 3, 8)])
def test_a_classifier_stands_on_the_mean_of_what_an_encoder_gives_out(shape):
    model = with_classifier(Encoder(shape), 8, 4)
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 4)
    head = sum(p.numel() for p in model.get_classifier().parameters())
    assert head == 8 * 4 + 4


def test_weights_of_five_dimensions_stay_as_they_lie():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(1, 2, 3))
    assert _layout(module, True) is torch.contiguous_format
    assert all(p.is_contiguous() for p in module.parameters())
    assert _layout(torch.nn.Conv2d(3, 4, 3), True) is torch.channels_last


def built(name, channels_last):
    from planner.models.resolve import resolve

    pytest.importorskip("timm")
    return build_vision(
        resolve(f"timm:{name}", offline=True),
        attention="sdpa",
        dtype=torch.float32,
        classes=None,
        image_size=None,
        audio_samples=None,
        task="image_classification",
        channels_last=channels_last,
        device="meta",
    )


def test_lambda_layers_are_built_and_said():
    model = built("lambda_resnet26t", True)
    assert AS_THEY_LIE in model.assumptions


def test_an_encoder_alone_gets_a_classifier_and_says_so():
    model = built("gemma4_vit_570m_enc", False)
    assert HEADLESS in model.assumptions and model.head == ("head",)
    assert model.module.head.out_features == 1000
    assert len(model.blocks) > 1
