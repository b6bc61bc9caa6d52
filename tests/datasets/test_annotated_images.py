"""COCO, YOLO and folders of masks: images, boxes and classes are counted as they lie on disk."""

import json
import re

import numpy as np
import pytest

from planner.datasets.readers.annotations import coco
from planner.datasets.scanning import scan
from planner.errors import DataError

Image = pytest.importorskip("PIL.Image")


def picture(path, width=64, height=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)


def annotations(path, images=4, boxes=(2, 0, 3, 1)):
    """COCO's file: ``boxes[i]`` of image i, three categories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "info": {"year": 2017},
        "images": [
            {"id": 7 + i, "file_name": f"{i}.jpg", "height": 48, "width": 64 + i}
            for i in range(images)
        ],
        "annotations": [
            {"id": 10 * i + k, "image_id": 7 + i, "category_id": 1, "bbox": [0, 0, 9, 9]}
            for i, count in enumerate(boxes)
            for k in range(count)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("a", "b", "c"))],
    }
    path.write_text(json.dumps(document))
    return path


def said(profile):
    return " ".join(line.text for line in profile.first_lines)


def test_coco_is_counted(tmp_path):
    annotations(tmp_path / "annotations" / "instances_train2017.json")
    annotations(tmp_path / "annotations" / "instances_val2017.json", 1, (1,))
    for i in range(4):
        picture(tmp_path / "train2017" / f"{i}.jpg")
    profile = scan(tmp_path)
    assert (profile.format, profile.modality, profile.samples) == ("coco", "image", 4)
    assert profile.classes == 3 and profile.image_sizes == (65, 48, 67, 48)
    assert "6 boxes, 2 an image with any, 3 at most; 1 images have none" in said(profile)
    assert "1 other files of annotations not" in said(profile)
    assert profile.bytes_on_disk == sum(
        file.stat().st_size for file in (tmp_path / "train2017").iterdir()
    )


def test_coco_without_its_images_is_counted_and_said(tmp_path):
    annotations(tmp_path / "annotations" / "instances_train.json")
    profile = scan(tmp_path)
    assert profile.samples == 4 and "images are not there" in said(profile)


def test_roboflows_folders_are_counted(tmp_path):
    annotations(tmp_path / "train" / "_annotations.coco.json")
    picture(tmp_path / "train" / "0.jpg")
    assert scan(tmp_path).samples == 4


def test_a_large_file_is_searched_with_the_same_result(tmp_path, monkeypatch):
    file = annotations(tmp_path / "annotations" / "instances_train.json")
    parsed = coco._parsed(file)
    searched = coco._searched(file)
    assert searched[0] == parsed[0] and searched[2] == parsed[2]
    assert sorted(searched[1]) == sorted(parsed[1])
    monkeypatch.setattr(coco, "PARSED_BYTES", 10)
    assert scan(tmp_path).classes == 3


def test_annotations_without_sizes_are_refused(tmp_path):
    file = annotations(tmp_path / "annotations" / "instances_train.json")
    file.write_text(file.read_text().replace('"height"', '"h"'))
    with pytest.raises(DataError, match="no annotations as COCO has them"):
        scan(tmp_path)
    with pytest.raises(DataError, match="width and a height"):
        coco._searched(file)


def labels(path, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0 0.5 0.5 0.1 0.1\n" * count)


@pytest.mark.parametrize("by_split", [True, False])
def test_yolo_is_counted(tmp_path, by_split):
    for split, images in (("train", 3), ("val", 2)):
        for i in range(images):
            parts = ("images", split) if by_split else (split, "images")
            picture(tmp_path.joinpath(*parts, f"{i}.png"), 80, 60)
            parts = ("labels", split) if by_split else (split, "labels")
            if i:
                labels(tmp_path.joinpath(*parts, f"{i}.txt"), i)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: {0: cat, 1: dog}\n")
    profile = scan(tmp_path)
    assert (profile.format, profile.samples, profile.classes) == ("yolo", 3, 2)
    assert profile.image_sizes == (80, 60, 80, 60)
    assert "3 boxes, 1.5 an image with any" in said(profile) and "1 images have none" in said(
        profile
    )


def test_captions_beside_images_are_no_boxes(tmp_path):
    picture(tmp_path / "images" / "0.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("a dog on a beach in the sun")
    assert scan(tmp_path).format == "image_folder"


def test_masks_are_paired_with_their_pictures(tmp_path):
    for i in range(3):
        picture(tmp_path / "images" / "training" / f"{i}.jpg")
        mask = np.full((48, 64), i, dtype=np.uint8)
        mask[0, 0] = 255
        file = tmp_path / "annotations" / "training" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    picture(tmp_path / "images" / "training" / "9.jpg")
    profile = scan(tmp_path)
    assert (profile.format, profile.samples, profile.classes) == ("masks", 3, 3)
    assert "1 without one left out" in said(profile)


def test_masks_of_one_object_have_two_classes(tmp_path):
    picture(tmp_path / "images" / "0.jpg")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).save(tmp_path / "masks" / "0_mask.png")
    assert scan(tmp_path).classes == 2


def changed(path, change):
    document = json.loads(annotations(path).read_text())
    change(document)
    path.write_text(json.dumps(document))


def stray(document):
    document["annotations"][0]["image_id"] = 999
    document["annotations"][1]["category_id"] = 77
    document["annotations"][2]["bbox"] = [1, 1, 0, 5]


def test_contradictions_inside_of_coco_are_warned_of(tmp_path):
    changed(tmp_path / "annotations" / "instances_train2017.json", stray)
    for i in range(3):
        picture(tmp_path / "train2017" / f"{i}.jpg")
    warned = " ".join(scan(tmp_path).warnings)
    assert "annotations of images that are not listed: 1 (the first: id 0)" in warned
    assert "annotations of categories that are not listed: 1 (the first: id 1)" in warned
    assert "boxes without a width and a height: 1" in warned
    assert "1 of the 4 annotated images are not in" in warned


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8, 0.95])
def test_a_coco_file_that_is_cut_off_is_refused_wherever(tmp_path, share, monkeypatch):
    file = annotations(tmp_path / "annotations" / "instances_train2017.json", 40, (2,) * 40)
    text = file.read_text()
    assert text.index('"annotations"') < 0.5 * len(text)
    file.write_text(text[: int(share * len(text))])
    picture(tmp_path / "train2017" / "0.jpg")
    with pytest.raises(DataError, match="cut off|not JSON"):
        scan(tmp_path)
    monkeypatch.setattr(coco, "PARSED_BYTES", 100)
    with pytest.raises(DataError, match="cut off|not JSON"):
        scan(tmp_path)


def yolo_folder(root, lines, yaml="names: [a, b]\n", name="0"):
    picture(root / "images" / "train" / "0.jpg")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / f"{name}.txt").write_text(lines)
    if yaml:
        (root / "data.yaml").write_text(yaml)
    return root


@pytest.mark.parametrize(
    ("lines", "yaml", "says"),
    [
        ("0 .5 .5 .2 .2\n1 .5 .5\nfoo\n", "names: [a, b]", "label lines that are no class.*: 2 "),
        ("0 .5 .5 .2 .2\n-1 .5 .5 .1 .1\n", "names: [a, b]", "label lines that are no class.*: 1 "),
        ("0 32 24 10 10\n", "names: [a, b]", "boxes beyond their image: 1 .*0.txt:1"),
        ("0 .5 .5 .2 .2\n", "nc: 5\nnames: [a, b]", "nc 5 and names 2 classes"),
        ("4 .5 .5 .2 .2\n", "nc: 3", r"labels have class 4, data.yaml 3 classes \(0 to 2\)"),
    ],
)
def test_broken_labels_of_yolo_are_warned_of(tmp_path, lines, yaml, says):
    warned = " ".join(scan(yolo_folder(tmp_path, lines, yaml)).warnings)
    assert re.search(says, warned), warned


def test_labels_without_an_image_are_warned_of_and_sound_ones_are_not(tmp_path):
    root = yolo_folder(tmp_path, "0 .5 .5 .2 .2\n1 .1 .1 .2 .2 .3 .3\n")
    assert scan(root).warnings == ()
    (root / "labels" / "train" / "7.txt").write_text("0 .5 .5 .2 .2\n")
    assert "without an image: 1 (the first: labels/train/7.txt)" in scan(root).warnings[0]


def test_without_a_data_yaml_the_labels_count_the_classes(tmp_path):
    profile = scan(yolo_folder(tmp_path, "0 .5 .5 .2 .2\n6 .5 .5 .2 .2\n", yaml=""))
    assert profile.classes == 7 and "7 by the highest in the labels" in said(profile)


def test_what_is_broken_stands_in_the_first_lines_of_an_answer(tmp_path):
    from planner.plan.inputs.problem import understand
    from planner.question import Question

    root = yolo_folder(tmp_path, "4 .5 .5 .2 .2\n", "nc: 3")
    problem = understand(Question(model="yolo:yolov8n", data=str(root), gpu="t4"))
    (line,) = [x for x in problem.first_lines if "labels have class 4" in x.text]
    assert line.warning
