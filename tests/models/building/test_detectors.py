"""torchvision's detectors and segmentation models: parameters as published, losses equal to the
library's where both can run, and steps whose sizes are those of its code."""

import importlib.util
from typing import Any

import pytest
import torch

from planner import tables
from planner.errors import ModelError
from planner.models.building.build import build
from planner.models.resolve import resolve
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

if not importlib.util.find_spec("torchvision"):
    pytest.skip("needs torchvision", allow_module_level=True)

from planner.libraries import import_library
from planner.models.building.detection import boxes, dense, operations

ROWS = [
    row
    for row in tables.rows("models", "torchvision_models.csv")
    if row["task"] != "image_classification"
]
RPN_SAMPLES, ROI_SAMPLES = 256, 512  # an image, faster_rcnn.py of torchvision 0.28


def library():
    return import_library("torchvision", "tests").models


def made(name, **options) -> Any:
    return build(resolve(name), **options).module


def traced(name, **changed):
    facts = resolve(name)
    usual = {"strategy": "fine_tune", "precision": "fp32", "optimizer": "sgd"}
    options: dict[str, Any] = usual | changed
    recipe = Recipe(task=facts.task, attention="sdpa", gradient_checkpointing="none", **options)
    source = trace_for(facts, recipe)
    source.keep = False
    return source.at(B=4)


def test_the_table_holds_every_detector_and_segmentation_model():
    models = library()
    known = {
        *models.list_models(module=models.detection),
        *models.list_models(module=models.segmentation),
    }
    assert {row["name"] for row in ROWS} == known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_parameters_are_those_of_the_published_weights(row):
    built = build(resolve(f"torchvision:{row['name']}"))
    total = sum(p.numel() for p in built.module.parameters())
    published = library().get_model_weights(row["name"]).DEFAULT.meta["num_params"]
    assert total == int(row["parameters"]) == published
    assert built.head and built.blocks


def test_a_detectors_first_stages_are_frozen_as_torchvision_freezes_them():
    built = build(resolve("torchvision:fasterrcnn_resnet50_fpn"))
    stems = {name.split(".")[2] for name in built.frozen}
    assert stems == {"conv1", "layer1"}  # trainable_backbone_layers is 3 of 5


def test_other_classes_make_another_head():
    detector = made("torchvision:fasterrcnn_resnet50_fpn", classes=5)
    assert detector.roi_heads.box_predictor.cls_score.out_features == 5 + 1  # background
    segmenter = made("torchvision:fcn_resnet50", classes=5)
    assert segmenter.classifier[-1].out_channels == 5


def test_what_cannot_be_is_said():
    with pytest.raises(ModelError, match="one size of images"):
        build(resolve("torchvision:ssd300_vgg16"), image_size=512)
    with pytest.raises(ModelError, match="recorded, not run"):
        build(resolve("torchvision:ssd300_vgg16"), device="cpu")


# ---- the losses against the library's own


def found(mask, _rows):
    return mask.flatten().nonzero().flatten()


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssd300_vgg16"])
def test_the_loss_of_an_image_is_the_librarys(monkeypatch, name):
    models = library()
    torch.manual_seed(0)
    options = {} if name.startswith("ssd") else {"min_size": 128}
    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=6, **options)
    model.train()
    batch = {
        "images": torch.rand(1, 3, 120, 160),
        "boxes": torch.tensor([[[10.0, 8, 90, 100], [60, 20, 150, 110], [30, 30, 50, 60]]]),
        "labels": torch.tensor([[1, 3, 2]]),
    }
    targets = [{"boxes": batch["boxes"][0].clone(), "labels": batch["labels"][0]}]
    monkeypatch.setattr(dense, "positions", found)
    monkeypatch.setattr(boxes, "positions", found)
    torch.manual_seed(1)  # dropout, where there is some
    expected = torch.stack(list(model([batch["images"][0]], targets).values())).sum()
    torch.manual_seed(1)
    assert dense.loss(model, batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_sampling_takes_the_librarys_numbers():
    class Sampler:
        batch_size_per_image, positive_fraction = 256, 0.5

    from planner.models.building.detection.rcnn import sampled

    labels = torch.empty(3, 5000, device="meta")
    chosen, positive = sampled(Sampler, labels)
    assert chosen.shape == (3 * 256,) and positive.shape == (3 * 128,)


def test_regions_have_gradients_of_their_feature_maps_shape():
    features = torch.empty(2, 16, 25, 34, device="meta", requires_grad=True)
    rois = torch.empty(10, 5, device="meta")
    out = operations.roi_align(features, rois, (7, 7), 2)
    out.sum().backward()
    assert out.shape == (10, 16, 7, 7) and features.grad is not None
    assert features.grad.shape == features.shape


# ---- whole steps


@pytest.fixture(scope="module")
def small():
    return traced("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn")


def test_a_step_pools_the_samples_of_every_image(small):
    dims = {}
    for name in ("planner.roi_align.default", "planner.roi_align_backward.default"):
        signatures = [small.signatures[i] for i in small.op_signature]
        calls = [s for s in signatures if s.op == name]
        operand = "outputs" if name.endswith("align.default") else "inputs"
        rows = [int(small.dims(B=4)[getattr(s, operand)[0].shape[0]]) for s in calls]
        dims[name] = sum(rows)
    assert set(dims.values()) == {4 * ROI_SAMPLES}


def test_a_step_says_what_it_assumes(small):
    said = " ".join(small.meta["assumptions"])
    assert "7 objects" in said and "fewer launches" in said and "limits" in said


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
@pytest.mark.parametrize("strategy", ["fine_tune", "feature_extraction"])
def test_every_model_traces_a_step(row, strategy):
    trace = traced(f"torchvision:{row['name']}", strategy=strategy)
    assert trace.op_count > 100
    assert trace.meta["total_params"] == int(row["parameters"])
