"""Denoisers as a user asks about them: folders with captions, some images of one subject, latents
that are cached, strategies that make no sense, a batch of one."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
from handmade_traces import make

from planner.datasets.profile import from_counts
from planner.errors import ModelError, QuestionError
from planner.models.resolve import resolve
from planner.plan.inputs.defaults import choose
from planner.plan.inputs.pictures import CAPTIONED, OF_ONE_SUBJECT, painted
from planner.plan.inputs.problem import understand
from planner.plan.phases.stages import crop_pixels
from planner.question import Question

pytest.importorskip("PIL")
from PIL import Image  # noqa: E402

from planner.cli.main import run  # noqa: E402
from planner.devices.lookup import find_device  # noqa: E402

A100 = "a100-sxm-80"


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioned")
    rows = []
    for number in range(30):
        Image.effect_noise((96, 64), 40).convert("RGB").save(folder / f"{number}.jpg")
        rows.append({"file_name": f"{number}.jpg", "text": f"a drawing of a small bird {number}"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    for number in range(5):
        Image.effect_noise((64, 64), 40).convert("RGB").save(folder / f"{number}.jpg")
    return folder


def asked(model, data=None, **more):
    return Question(model=model, data=None if data is None else str(data), offline=True, **more)


def lines(problem):
    return " | ".join(line.text for line in problem.first_lines)


def choices(problem, strategy="lora"):
    spec = find_device(A100)
    return choose(problem.question, problem.facts, problem.data, strategy, spec)


def test_a_folder_with_captions_is_read(captioned):
    problem = understand(asked("sd1.5", captioned))
    assert (problem.data.samples, problem.data.modality, problem.data.format) == (
        30,
        "image",
        CAPTIONED,
    )
    assert problem.data.lengths is None
    assert "DreamBooth" not in lines(problem)
    assert "frozen: the autoencoder and 1 text encoder run in every step" in lines(problem)
    assert any("77 tokens" in text for text in problem.assumptions)


def test_texts_beside_the_images_are_captions_too(tmp_path):
    for number in range(4):
        Image.effect_noise((64, 64), 40).convert("RGB").save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a red bird on a branch, in the rain")
    assert understand(asked("sdxl", tmp_path)).data.format == CAPTIONED


def test_images_without_captions_are_of_one_subject(subject):
    problem = understand(asked("sd1.5", subject))
    assert problem.data.format == OF_ONE_SUBJECT
    assert "DreamBooth: 5 images without captions share one prompt" in lines(problem)
    made = choices(problem)
    assert made.steps is not None and "DreamBooth" not in lines(problem).partition("run:")[2]
    prior = understand(asked("sd1.5", subject, prior_preservation=True))
    assert "doubles its batch" in lines(prior)
    assert choices(prior).recipe.prior_preservation is True
    assert made.recipe.prior_preservation is None


@pytest.mark.parametrize(
    "samples, kind", [(5, OF_ONE_SUBJECT), (20, OF_ONE_SUBJECT), (21, CAPTIONED)]
)
def test_few_images_of_which_only_the_number_is_known(samples, kind):
    facts = resolve("sd1.5", offline=True)
    data = painted(facts, from_counts(samples, modality="image"), [])
    assert data.format == kind


def test_prior_preservation_is_of_dreambooth_alone(captioned):
    with pytest.raises(QuestionError, match="DreamBooth"):
        understand(asked("sd1.5", captioned, prior_preservation=True))


def test_a_class_conditional_denoiser_needs_no_captions(subject):
    problem = understand(asked("dit-xl-2-256", subject))
    assert "DreamBooth" not in lines(problem)
    assert "frozen: the autoencoder run in every step" in lines(problem)


def test_adapters_are_the_scripts_own_unless_asked(captioned):
    own = choices(understand(asked("sd1.5", captioned))).recipe
    assert own.lora_rank == 4 and own.lora_targets == ("to_k", "to_q", "to_v", "to_out.0")
    asked_for = understand(asked("sd1.5", captioned, lora_rank=16, lora_targets=["to_q"]))
    recipe = choices(asked_for).recipe
    assert recipe.lora_rank == 16 and recipe.lora_targets == ("to_q",)
    flux = choices(understand(asked("flux", captioned))).recipe
    assert "ff.net.0.proj" in (flux.lora_targets or ())


@pytest.mark.parametrize("strategy", ["feature_extraction", "distillation"])
def test_strategies_that_make_no_sense_are_refused_in_a_line(captioned, strategy):
    problem = understand(asked("sd1.5", captioned))
    with pytest.raises(ModelError, match="makes no sense on text_to_image") as error:
        choices(problem, strategy)
    assert "\n" not in str(error.value)


def test_nothing_is_held_out(captioned):
    assert choices(understand(asked("sd1.5", captioned)), "fine_tune").evaluations(100, 3) == 0


def test_crops_of_self_distillation_are_counted():
    assert crop_pixels("image_classification", resolve("timm:resnet50"), 224) == 224**2
    assert (
        crop_pixels("image_self_distillation", resolve("timm:resnet50"), 224)
        == 2 * 224**2 + 8 * 98**2
    )


def test_a_batch_of_one_has_as_many_points_as_are_asked():
    """A trace of a batch of one has no symbol: its dimensions are the same at every point."""
    whole = make([(0, "forward")], [(0, 0, 1, "weights")], [((0, 3), 4)])
    trace = replace(whole, forms=np.array([[1], [64]]), monomials=("1",), signatures=())
    assert trace.symbols == ()
    one, several = trace.dims(B=1), trace.dims(B=np.array([1, 1, 1]))
    assert one.ndim == 1 and several.shape == (len(one), 3)
    assert (several == one[:, None]).all()


needs_diffusers = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None, reason="needs diffusers"
)


@needs_diffusers
@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--cached-features"], ["--micro-batch", "1"]])
def test_a_question_is_answered_from_the_command_line(captioned, capsys, more):
    command = ["estimate", "sd1.5", str(captioned), "--gpu", A100, "--strategy", "lora", *more]
    assert run([*command, "--image-size", "256", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    option = document["options"][0]
    assert option["fits"] and option["strategy"] == "lora"
    assert (option["variant"] == "cached features") == (more == ["--cached-features"])
    text = " ".join(line["text"] for line in document["first_lines"])
    assert ("run once before" in text) == (more == ["--cached-features"])
