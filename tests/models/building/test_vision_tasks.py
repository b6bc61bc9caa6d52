"""Detection and segmentation with transformers: what stands for the library's loops over images
gives what they give, and steps are traced."""

import importlib.util
import sys
from typing import Any

import pytest
import torch

from planner import tables
from planner.errors import ModelError
from planner.models.building.build import build
from planner.models.constants import constant
from planner.models.resolve import resolve
from planner.trace.source import trace_for
from planner.training.recipe import Recipe

if not all(importlib.util.find_spec(name) for name in ("transformers", "scipy")):
    pytest.skip("needs transformers and scipy", allow_module_level=True)

from planner.libraries import import_library
from planner.models.building.detection import assignment, mask_matching

TASKS = (
    "object_detection",
    "instance_segmentation",
    "semantic_segmentation",
    "mask_generation",
)
ROWS = [
    row
    for row in tables.rows("models", "catalogue.csv")
    if row["task"] in TASKS and row["library"] == "transformers"
]
OBJECTS = int(constant("objects_per_image"))


def module_of(name) -> Any:
    import_library("transformers", "tests")
    return importlib.import_module(f"transformers.models.{name}")


def found(mask, _rows):
    return mask.flatten().nonzero().flatten()


# ---- the library's own code against what stands for it


def test_noisy_queries_are_the_librarys(monkeypatch):
    library = module_of("rt_detr.modeling_rt_detr")
    monkeypatch.setattr(assignment, "positions", found)
    labels, boxes = torch.randint(0, 80, (2, OBJECTS)), torch.rand(2, OBJECTS, 4)
    embed = torch.nn.Embedding(81, 16)
    options = {"label_noise_ratio": 0, "box_noise_scale": 0}
    images = [{"class_labels": labels[i], "boxes": boxes[i]} for i in range(2)]
    every = [{"class_labels": labels.flatten(), "boxes": boxes.flatten(0, 1)}]
    theirs = library.get_contrastive_denoising_training_group(images, 80, 30, embed, **options)
    ours = assignment._noisy(OBJECTS, every, 80, 30, embed, **options)
    for their, our in zip(theirs[:3], ours[:3], strict=True):
        assert torch.equal(their, our)
    assert theirs[3]["dn_num_group"] == ours[3]["dn_num_group"]
    assert theirs[3]["dn_num_split"] == ours[3]["dn_num_split"]
    positive = torch.cat(theirs[3]["dn_positive_idx"])
    assert len(ours[3]["dn_positive_idx"][0]) == len(positive)


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("mask2former", {"cost_mask": 2.0, "cost_dice": 3.0, "num_points": 50}),
        ("maskformer", {"cost_mask": 2.0, "cost_dice": 3.0}),
    ],
)
def test_costs_of_masks_are_the_librarys(monkeypatch, family, arguments):
    library = module_of(f"{family}.modeling_{family}")
    kind = next(name for name in vars(library) if name.endswith("HungarianMatcher"))
    matcher = getattr(library, kind)(**arguments)
    masks, classes = torch.randn(1, 10, 16, 16), torch.randn(1, 10, 6)
    labels = torch.randint(0, 5, (1, 4))
    targets = (torch.rand(1, 4, 32, 32) > 0.5).float()
    seen = []

    def solve(costs):
        seen.append(costs)
        return torch.arange(costs.shape[-1]), torch.arange(costs.shape[-1])

    monkeypatch.setattr(library, "linear_sum_assignment", solve)
    monkeypatch.setattr(mask_matching, "assigned", lambda costs: solve(costs)[0])
    torch.manual_seed(0)
    matcher(masks, classes, list(targets), list(labels))
    torch.manual_seed(0)
    mask_matching.replacements()[kind](matcher, masks, classes, list(targets), list(labels))
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-4)


def test_nothing_of_the_library_stays_replaced():
    library = module_of("rt_detr.modeling_rt_detr")
    matchers = module_of("mask2former.modeling_mask2former")
    own = library.get_contrastive_denoising_training_group
    forward = matchers.Mask2FormerHungarianMatcher.forward
    with assignment.without_data(torch.empty(1, device="meta"), OBJECTS):
        assert library.get_contrastive_denoising_training_group.func is assignment._noisy
        assert matchers.Mask2FormerHungarianMatcher.forward is mask_matching._at_points
    assert library.get_contrastive_denoising_training_group is own
    assert matchers.Mask2FormerHungarianMatcher.forward is forward


def test_real_batches_keep_a_list_entry_an_image():
    batch = {"class_labels": torch.zeros(3, OBJECTS), "boxes": torch.zeros(3, OBJECTS, 4)}
    assert [len(one["boxes"]) for one in assignment.objects_of(batch)] == [OBJECTS] * 3
    meta = {name: value.to("meta") for name, value in batch.items()}
    assert [len(one["boxes"]) for one in assignment.objects_of(meta)] == [3 * OBJECTS]


# ---- models


def test_photographs_keep_their_shape_where_the_library_keeps_it():
    wide = build(resolve("detr-resnet-50")).batch(2)
    assert wide["pixel_values"].shape == (2, 3, 800, 1066)
    square = build(resolve("rtdetr_r18vd")).batch(2)
    assert square["pixel_values"].shape == (2, 3, 640, 640)
    asked = build(resolve("segformer-b0"), image_size=256).batch(2)
    assert asked["pixel_values"].shape == (2, 3, 256, 256)
    assert asked["labels"].shape == (2, 256, 256)


def test_classes_are_the_questions():
    built: Any = build(resolve("detr-resnet-50"), classes=5).module
    assert built.class_labels_classifier.out_features == 5 + 1  # and no object


def test_a_model_of_texts_and_images_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "oneformer", "num_labels": 3}')
    facts = resolve(str(tmp_path), task="instance_segmentation")
    with pytest.raises(ModelError, match="texts beside its images"):
        build(facts)


def traced(name, strategy="fine_tune", **options):
    facts = resolve(name)
    settled: dict[str, Any] = {"attention": "sdpa", "gradient_checkpointing": "none"} | options
    recipe = Recipe(
        strategy=strategy, task=facts.task, precision="fp32", optimizer="adamw", **settled
    )
    source = trace_for(facts, recipe)
    source.keep = False
    return source.at(B=4)


@pytest.fixture(scope="module")
def segmented():
    return traced("segformer-b0", image_size=64)


def test_a_segmenting_step_is_traced(segmented):
    assert segmented.meta["task"] == "semantic_segmentation"
    assert segmented.meta["trainable_params"] == segmented.meta["total_params"]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_every_catalogue_model_traces_a_step(row):
    trace = traced(row["name"])
    assert trace.meta["total_params"] == int(row["parameters"])
    if row["task"] in ("object_detection", "instance_segmentation"):
        ops = {trace.signatures[i].op for i in trace.op_signature}
        assert "planner.assignment.default" in ops


@pytest.mark.slow
def test_sam_trains_its_decoder_on_a_frozen_encoder():
    trace = traced("sam-vit-base", strategy="feature_extraction")
    row = next(row for row in ROWS if row["name"] == "sam-vit-base")
    head = int(row["parameters"]) - int(row["base_parameters"])
    assert trace.meta["trainable_params"] == head
    assert "transformers" in sys.modules
