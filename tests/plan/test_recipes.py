"""Which published recipe a question goes by, and what it fills."""

import math

import pytest

from planner.answer.estimate import estimate
from planner.datasets.profile import from_counts
from planner.datasets.scanning import scan
from planner.models.resolve import resolve
from planner.plan.inputs import recipes
from planner.plan.inputs.practice import practice
from planner.question import Question
from planner.question.what import TRAINING_STRATEGIES


def made(model, strategy="fine_tune", samples=20_000, tokens=300, **fields):
    facts = resolve(model, offline=True)
    tokens = tokens if facts.modality == "text" else None
    question = Question(model=model, samples=samples, tokens_per_sample=tokens, **fields)
    data = from_counts(samples, tokens, None, modality=facts.modality)
    return practice(question, facts, data, strategy, facts.task)


@pytest.mark.parametrize(
    "name, family",
    [
        ("Llama-3.1-8B", "llama"),
        ("SmolLM2-360M", "smollm"),
        ("Mistral-7B-v0.3", "mistral"),
        ("distilgpt2", "gpt2"),
        ("roberta-base", "roberta"),
        ("bert-base-uncased", "bert"),
        ("whisper-small", "whisper"),
        ("torchvision:resnet50", "resnet"),
        ("timm:convnext_tiny", "convnext"),
        ("vgg16", "vgg"),
    ],
)
def test_a_model_belongs_to_a_family_by_its_name(name, family):
    assert recipes.family_of(resolve(name, offline=True))[0] == family


def test_a_model_of_an_own_name_belongs_to_a_family_by_its_type():
    facts = resolve("Llama-3.1-8B", offline=True)
    facts = type(facts)(**{**_fields(facts), "name": "/home/me/my-tuned-thing"})
    assert recipes.family_of(facts) == ("llama", "decoder")


def _fields(facts):
    return {name: getattr(facts, name) for name in facts.__dataclass_fields__}


def test_a_resnet_from_scratch_is_trained_as_torchvision_does():
    choice = made("resnet50", "scratch", samples=1_200_000)
    assert (choice.global_batch, choice.epochs) == (256, 90)
    assert "pytorch/vision" in choice.recipe.source and "pytorch/vision" in choice.lines[0].text


def test_few_images_are_not_trained_in_forty_steps_of_512():
    for strategy in ("fine_tune", "scratch"):
        choice = made("resnet50", strategy, samples=2_000)
        assert choice.global_batch <= 32 and 2_000 / choice.global_batch >= 60, strategy
    assert made("resnet50", "scratch", samples=2_000).epochs >= 90


def test_scratch_is_not_for_the_epochs_of_fine_tuning():
    for model in ("resnet50", "vit-base", "efficientnet-b0", "vgg16"):
        tuned, scratch = made(model), made(model, "scratch")
        assert scratch.epochs > tuned.epochs, model


@pytest.mark.parametrize(
    "model, length", [("gpt2", 1024), ("Llama-3.1-8B", 2048), ("roberta-base", 512)]
)
def test_text_from_scratch_is_packed_to_the_models_or_the_recipes_length(model, length):
    facts = resolve(model, offline=True)
    task = "masked_lm" if facts.task == "text_classification" else facts.task
    question = Question(model=model, samples=9_000, tokens_per_sample=300, task=task)
    data = from_counts(9_000, 300)
    choice = practice(question, facts, data, "scratch", task)
    assert choice.packed and choice.length == length
    assert f"packed to {length:,} tokens" in choice.lines[0].text


@pytest.mark.parametrize("strategy", ["fine_tune", "lora", "qlora", "partial_fine_tune"])
@pytest.mark.parametrize("model", ["gpt2", "Llama-3.2-1B", "Qwen2.5-7B", "falcon-7b"])
def test_plain_text_is_packed_to_a_length_that_is_trained_with(model, strategy, tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("A line of a book that is long enough to be one.\n" * 400)
    facts, question = resolve(model, offline=True), Question(model=model, data=str(file))
    choice = practice(question, facts, scan(file), strategy, facts.task)
    assert choice.packed and 512 <= choice.length <= 2048, choice.length


def test_packing_and_length_are_the_users_first():
    assert not made("gpt2", "scratch", padding="longest").packed
    choice = made("gpt2", "scratch", max_length=256)
    assert choice.packed and choice.length is None
    assert made("gpt2", "fine_tune", padding="packed", max_length=512).packed
    assert not made("Llama-3.1-8B", "lora").packed


def test_the_recipe_names_its_row_and_what_it_filled():
    choice = made("Llama-3.1-8B", "fine_tune")
    (line,) = choice.lines
    assert line.topic == "recipe" and not line.warning
    assert "global batch 128, 3 epochs" in line.text and "tatsu-lab/stanford_alpaca@" in line.text
    assert choice.recipe.family == "llama" and choice.recipe.strong


def test_where_no_recipe_is_published_the_answer_says_so():
    choice = made("resnet50", "lora")
    assert choice.recipe is None
    assert "no published recipe for resnet50" in choice.lines[0].text


def test_what_the_user_says_is_not_filled_and_not_said():
    choice = made("gpt2", epochs=2, global_batch=8, evaluations_per_epoch=1)
    assert (choice.global_batch, choice.epochs, choice.lines) == (8, 2, ())


def test_examples_are_not_trusted_for_epochs():
    for row in {made(model, strategy).epochs_filled.row for model in ("gpt2", "Qwen2.5-7B",
                "bert-base-uncased", "vit-base", "clip-vit-b32") for strategy in
                ("fine_tune", "lora", "scratch")} - {None}:  # fmt: skip
        assert row.strong, row.named


def test_epochs_of_other_amounts_of_data_are_not_taken():
    near, far = made("Llama-3.1-8B", samples=20_000), made("Llama-3.1-8B", samples=300)
    assert near.epochs_filled.row is not None and far.epochs_filled.row is None


def test_epochs_of_models_of_another_size_are_not_taken():
    # TinyLlama's 5 epochs on 9.8k conversations are for a model like it
    assert made("Llama-3.2-1B", samples=3_000).epochs == 5
    assert made("Llama-3.1-8B", samples=3_000).epochs == 3
    assert made("gpt2", samples=3_000).epochs == 3


def test_steps_win_for_recipes_of_steps_alone():
    whisper = made("whisper-small", samples=6_540)
    assert whisper.steps == 5_000 and whisper.epochs_filled is None
    assert made("whisper-small", samples=6_540, epochs=2).steps is None
    assert made("whisper-small", samples=6_540, max_steps=70).steps == 70
    # GPT-2's own pretraining ran 600,000 steps: not what this data is for
    assert made("gpt2", "scratch").steps is None


def test_evaluation_that_generates_text_is_known():
    assert made("whisper-small").generates is True
    assert made("t5-base").generates is True
    assert made("gpt2").generates is False
    assert "evaluation generates text" in made("whisper-small").lines[0].text


def test_evaluations_follow_a_recipe_that_made_something_or_the_question():
    lora = made("Llama-3.1-8B", "lora")
    assert lora.evaluation_steps == 200 and lora.evaluations(1000, 3.0) == 5
    assert made("Llama-3.1-8B", "lora", evaluations_per_epoch=2).evaluations(1000, 3.0) == 6
    # an example says nothing of it: once an epoch
    assert made("gpt2").evaluations(1000, 3.0) == 3


def test_a_batch_per_device_grows_with_the_devices():
    row = next(
        row
        for row in recipes.published()
        if row.global_batch is None and row.per_device == 8 and row.batch_unit == "samples"
    )
    who = recipes.Asker("llama", "decoder", 8e9, 1000, None)
    assert (who.batch_samples(row, 1), who.batch_samples(row, 4)) == (8, 32)


def test_batches_in_seconds_of_sound_become_clips():
    row = next(row for row in recipes.published() if row.batch_unit == recipes.AUDIO_SECONDS)
    clips = recipes.Asker("wav2vec2", "speech_encoder", 9e7, 3600, 10.0)  # clips of 10 s
    assert clips.batch_samples(row, 1) == pytest.approx(row.global_batch / 10)
    assert (
        recipes.Asker("wav2vec2", "speech_encoder", 9e7, 3600, None).batch_samples(row, 1) is None
    )


@pytest.mark.parametrize("strategy", TRAINING_STRATEGIES)
@pytest.mark.parametrize(
    "model",
    ["gpt2", "bert-base-uncased", "t5-base", "resnet50", "whisper-small", "clip-vit-b32",
     "wav2vec2-base"],
)  # fmt: skip
@pytest.mark.parametrize("samples", [1, 7, 900, 10**6])
def test_every_question_gets_a_batch_and_an_end(model, strategy, samples):
    choice = made(model, strategy, samples=samples)
    assert choice.global_batch >= 1 and choice.epochs > 0
    assert choice.evaluations(100, 1.0) >= 0
    assert all(line.topic == "recipe" and len(line.text) < 400 for line in choice.lines)


def test_a_larger_amount_of_data_never_lowers_the_batch_of_one_recipe():
    sizes = [made("resnet50", samples=n).global_batch for n in (10, 100, 1_000, 5_000, 50_000)]
    assert sizes == sorted(sizes)


def test_the_document_names_the_row_and_its_source():
    answer = estimate("gpt2", samples=900, tokens_per_sample=100, gpu="l4", strategy="fine_tune")
    (option,) = answer["options"]
    recipe = option["training"]["recipe"]
    assert recipe["kind"] in recipes.KINDS and recipe["source"] and recipe["date"]
    assert any(line["topic"] == "recipe" for line in answer["first_lines"])
    assert any(one["what"] == "default global batch of fine_tune" for one in answer["sources"])
    assert option["run"]["evaluation_generates"] is False


@pytest.mark.parametrize("model", ["Llama-3.1-8B", "Mistral-7B-v0.3", "Qwen2.5-7B", "gpt2"])
@pytest.mark.parametrize("samples", [500, 5_000, 50_000, 500_000])
def test_adapters_take_as_many_passes_over_4_bit_weights_as_over_others(model, samples):
    one, other = (made(model, strategy, samples=samples) for strategy in ("lora", "qlora"))
    assert one.epochs == other.epochs


def spoken(model, hours, strategy="fine_tune", samples=5_000, task=None, **fields):
    facts = resolve(model, offline=True)
    question = Question(model=model, samples=samples, audio_hours=hours, **fields)
    data = from_counts(
        samples, None, None, modality="audio", seconds_per_sample=hours * 3600 / samples
    )
    return practice(question, facts, data, strategy, task or facts.task)


@pytest.mark.parametrize("samples, is_taken", [(2_000, True), (23_900, True), (24_100, False)])
def test_a_recipe_on_a_hundred_times_less_data_is_no_neighbour(samples, is_taken):
    """The tutorial on resnet18 has 240 images."""
    choice = made("resnet50", samples=samples)
    assert (choice.recipe is not None) == is_taken
    assert ("no neighbour" in choice.lines[0].text) != is_taken
    if not is_taken:
        assert choice.global_batch == min(512, 2 ** int(math.log2(samples / 78)))
        assert "resnet18" in choice.lines[0].text and "100 times less data" in choice.lines[0].text


def test_nothing_is_said_of_a_far_recipe_where_the_batch_is_asked():
    assert not made("resnet50", samples=50_000, global_batch=32, epochs=4).lines


@pytest.mark.parametrize("model", ["facebook/wav2vec2-base", "facebook/wav2vec2-large-lv60"])
@pytest.mark.parametrize("hours, steps", [(1, 13_000), (10, 20_000), (80, 80_000), (900, 320_000)])
def test_steps_follow_the_hours_of_sound_before_the_size_of_the_model(model, hours, steps):
    """fairseq's recipes of wav2vec2 have as many for base and large."""
    choice = spoken(model, hours, samples=hours * 500, task="speech_recognition")
    assert choice.steps == steps


@pytest.mark.parametrize("model", ["whisper-small", "facebook/wav2vec2-large-lv60"])
def test_more_hours_of_sound_never_take_less_work(model):
    """Neither steps nor the batch shrink where another recipe is nearer, or none is near."""
    work = []
    for hours in (1, 5, 20, 30, 100, 300, 790, 1_000, 9_000):
        choice = spoken(model, hours, samples=hours * 500, task="speech_recognition")
        passes = choice.epochs * hours * 500
        work.append(passes if choice.steps is None else choice.steps * choice.global_batch)
    assert work == sorted(work)


def test_steps_on_a_hundred_times_more_data_are_not_taken():
    assert spoken("whisper-small", 0.05, samples=30).steps is None
    assert spoken("whisper-small", 10).steps == 5_000


@pytest.mark.parametrize("model", ["whisper-small", "whisper-tiny"])
@pytest.mark.parametrize("hours", [1, 10, 100])
def test_scratch_takes_no_fewer_passes_than_fine_tuning(model, hours):
    samples = hours * 500
    tuned = spoken(model, hours, samples=samples)
    scratch = spoken(model, hours, "scratch", samples=samples)
    passes = tuned.epochs if tuned.steps is None else tuned.steps * tuned.global_batch / samples
    assert scratch.epochs == pytest.approx(max(10, passes))
    if passes > 10:
        assert "as many as fine-tuning takes" in scratch.lines[0].text


def test_what_is_published_of_scratch_is_kept():
    choice = made("resnet50", "scratch", samples=1_200_000)
    assert choice.epochs == 90 and "fine-tuning" not in choice.lines[0].text


@pytest.mark.parametrize("strategy", ["lora", "qlora"])
@pytest.mark.parametrize("model", ["distilbert-base-uncased", "bert-base-uncased"])
def test_epochs_are_not_those_of_another_family(model, strategy):
    """Of adapters on encoders RoBERTa's 30 epochs on MNLI alone are published."""
    assert made(model, strategy, samples=250_000, tokens=120).epochs == 3
    assert made("roberta-base", strategy, samples=250_000, tokens=120).epochs == 30


@pytest.mark.parametrize("samples", [10, 1_000, 100_000, 10**7])
@pytest.mark.parametrize("model, strategy", [("gpt2", "lora"), ("resnet50", "fine_tune")])
def test_no_recipe_that_is_taken_has_a_hundred_times_less_data(model, strategy, samples):
    row = made(model, strategy, samples=samples).recipe
    if row is not None and row.data_samples is not None:
        assert row.data_samples * recipes.FAR_FACTOR >= samples
