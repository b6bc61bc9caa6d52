"""What model and data make of a question together: its task, an adapter's settings, speech by CTC,
lengths of one token."""

import importlib.util
import json
import wave

import numpy as np
import pytest

import planner
from planner.datasets.profile import from_counts
from planner.models.building.speech import frames_per_second, waveform_samples
from planner.models.resolve import resolve
from planner.plan.inputs.problem import understand
from planner.plan.inputs.tasks import shortest_lines
from planner.question import Question
from planner.trace.table import SHORTEST, traced_length
from planner.training.recipe import Recipe

RATE = 16000
WORDS = "the quick brown fox jumps over the lazy dog "


def asked(model, data=None, **more):
    return Question(model=model, data=None if data is None else str(data), offline=True, **more)


def understood(*args, **more):
    problem = understand(asked(*args, **more))
    lines = [line for line in problem.first_lines if line.topic == "task"]
    assert len(lines) == 1, lines
    return problem, lines[0].text


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"text": f"{WORDS * 3}{i}"} for i in range(60)]
    (folder / "plain.jsonl").write_text("\n".join(map(json.dumps, rows)))
    labelled = [{**row, "label": i % 3} for i, row in enumerate(rows)]
    (folder / "labelled.jsonl").write_text("\n".join(map(json.dumps, labelled)))
    return folder


def sound(file, seconds):
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as handle:
        handle.setnchannels(1)
        handle.setsampwidth(2)
        handle.setframerate(RATE)
        handle.writeframes(b"\0\0" * int(RATE * seconds))


@pytest.fixture(scope="module")
def transcribed(tmp_path_factory):
    """Clips of 2 to 5 seconds in one folder, with a table of transcripts."""
    folder, rows = tmp_path_factory.mktemp("speech"), []
    for number in range(12):
        sound(folder / "clips" / f"{number}.wav", 2 + number % 4)
        rows.append({"file_name": f"clips/{number}.wav", "transcription": WORDS})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    for number in range(12):
        sound(folder / ("yes", "no", "stop")[number % 3] / f"{number}.wav", 1)
    return folder


# ---- the data's part in the task


@pytest.mark.parametrize(
    "model, file, task",
    [
        ("bert-base-uncased", "plain.jsonl", "masked_lm"),
        ("bert-base-uncased", "labelled.jsonl", "text_classification"),
        ("gpt2", "labelled.jsonl", "causal_lm"),
        ("gpt2", "plain.jsonl", "causal_lm"),
    ],
)
def test_text_decides_where_no_class_does(texts, model, file, task):
    problem, line = understood(model, texts / file)
    assert problem.facts.task == task and f"trained as {task}" in line


def test_an_asked_task_is_not_changed_by_the_data(texts):
    problem, line = understood(
        "bert-base-uncased", texts / "plain.jsonl", task="text_classification"
    )
    assert problem.facts.task == "text_classification" and "as asked" in line


def test_a_classifier_stays_one_without_labels(texts, tmp_path):
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert understood(str(tmp_path), texts / "plain.jsonl")[0].facts.task == "text_classification"
    config["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert understood(str(tmp_path), texts / "plain.jsonl")[0].facts.task == "masked_lm"
    assert understood(str(tmp_path), texts / "labelled.jsonl")[0].facts.task == (
        "text_classification"
    )


@pytest.mark.parametrize("model", ["wav2vec2-base", "hubert-base", "whisper-tiny"])
def test_sounds_with_transcripts_are_recognised(transcribed, model):
    problem, _ = understood(model, transcribed)
    assert problem.facts.task == "speech_recognition"


@pytest.mark.parametrize("model", ["wav2vec2-base", "whisper-tiny"])
def test_sounds_in_folders_are_classified(commands, model):
    problem, _ = understood(model, commands)
    assert problem.facts.task == "audio_classification" and problem.data.classes == 3


def test_a_number_of_classes_asks_for_classification():
    problem, _ = understood("wav2vec2-base", samples=100, classes=12)
    assert problem.facts.task == "audio_classification"


# ---- CTC


def test_ctc_reads_frames_and_writes_characters(transcribed):
    problem, _ = understood("wav2vec2-base", transcribed)
    assert frames_per_second(problem.facts.config) == 50
    assert sorted(set(problem.data.lengths.tolist())) == [100, 150, 200, 250]
    # 44 characters a transcript, counted by tokens of about 4.5 characters
    assert 30 < problem.data.target_lengths.mean() < 65
    assert any("CTC over 32 characters" in text for text in problem.assumptions)


def test_a_decoder_writes_the_transcripts_that_are_there(transcribed):
    problem, _ = understood("whisper-tiny", transcribed)
    assert problem.data.target_lengths is None and problem.data.lengths.max() < 40


def test_a_waveform_gives_whole_frames():
    config = {
        "model_type": "wav2vec2",
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    }
    for frames in (1, 2, 49, 500):
        length = waveform_samples(config, frames)
        for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
            assert (length - kernel) % stride == 0
            length = (length - kernel) // stride + 1
        assert length == frames


@pytest.mark.parametrize(
    "family, more",
    [
        ("wav2vec2", {}),
        *(
            pytest.param(family, {}, marks=pytest.mark.slow)
            for family in (
                "hubert",
                "wavlm",
                "data2vec-audio",
                "sew",
                "unispeech",
                "unispeech-sat",
                "wav2vec2-conformer",
                "wav2vec2-bert",
            )
        ),
    ],
)
def test_every_family_of_ctc_is_traced_with_its_loss(family, more, tmp_path):
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("needs transformers")
    from planner.trace.recorder.regimes import record_regime

    config = {
        "model_type": family,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 32,
        "conv_pos_kernel_size": 5,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "output_hidden_size": 64,
        **more,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    facts = resolve(str(tmp_path), task="speech_recognition")
    recipe = Recipe(
        strategy="fine_tune",
        task="speech_recognition",
        precision="amp_fp16",
        optimizer="adamw",
        gradient_checkpointing="none",
    )
    trace = record_regime(facts, recipe, None, "b2", 64, None)[0].traces[0]
    losses = [s for s in trace.signatures if s.op == "aten._ctc_loss.Tensor"]
    assert trace.symbols == ("B", "S", "T") and len(losses) == 1
    dims = trace.dims(B=4, S=100, T=30)
    logits, alpha = losses[0].inputs[0], losses[0].outputs[1]
    frames = 200 if family == "sew" else 100  # its squeezed frames are stretched again
    assert logits.dtype == "float32" and [int(dims[i]) for i in logits.shape] == [frames, 4, 32]
    assert [int(dims[i]) for i in alpha.shape] == [4, frames, 61]
    if family != "wav2vec2-bert":
        assert trace.meta["trainable_params"] < trace.meta["total_params"]
        assert any("freeze_feature_encoder" in text for text in trace.meta["assumptions"])


def test_the_feature_encoder_is_frozen_and_nothing_else():
    """Wav2Vec2ForCTC of wav2vec2-base and 32 characters: the convolutions hold 4,200,448."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("needs transformers")
    from planner.models.building.build import build

    built = build(resolve("wav2vec2-base", task="speech_recognition", offline=True))
    total = {name: p.numel() for name, p in built.module.named_parameters()}
    assert sum(total.values()) == 94_396_320
    assert sum(n for name, n in total.items() if name not in built.frozen) == 90_195_872
    assert built.head == ("lm_head",)


# ---- an adapter's settings


def test_an_adapters_settings_are_the_defaults(tmp_path):
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": "SmolLM2-135M",
        "r": 4,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj"],
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    counts = {"samples": 100, "tokens_per_sample": 64}
    question = understood(str(tmp_path), **counts)[0].question
    assert (question.lora_rank, question.lora_targets, question.lora_dropout) == (
        4,
        ["q_proj"],
        0.1,
    )
    asked_for = understood(str(tmp_path), **counts, lora_rank=64)[0].question
    assert asked_for.lora_rank == 64 and asked_for.lora_targets == ["q_proj"]


# ---- one token


def test_no_length_is_below_the_shortest_that_is_traced():
    assert traced_length(None) is None
    assert [traced_length(n) for n in (0.2, 1, 1.4, 2, 2.6)] == [SHORTEST, 2, 2, 2, 3]


@pytest.mark.parametrize(
    "model, more",
    [
        ("SmolLM2-135M", {"strategy": ["lora"]}),
        ("SmolLM2-135M", {"strategy": ["fine_tune"], "micro_batch": 1}),
        ("bert-base-uncased", {"strategy": ["fine_tune"]}),
        ("t5-small", {"strategy": ["fine_tune"], "target_tokens_per_sample": 1}),
    ],
)
def test_samples_of_one_token_are_answered_and_it_is_said(model, more):
    answer = planner.estimate(
        Question(model=model, samples=100, tokens_per_sample=1, gpu="l4", offline=True, **more)
    )
    assert answer["options"][0]["fits"]
    assert any("samples of one token" in line["text"] for line in answer["first_lines"])


def test_one_token_costs_what_the_shortest_length_costs():
    def memory(tokens):
        answer = planner.estimate(
            Question(
                model="SmolLM2-135M",
                samples=100,
                tokens_per_sample=tokens,
                length_spread=0,
                strategy=["lora"],
                micro_batch=8,
                gpu="l4",
                offline=True,
            )
        )
        return answer["options"][0]["memory"]

    assert memory(1) == memory(SHORTEST)


def test_only_lengths_of_one_token_are_said():
    assert shortest_lines(from_counts(10, 1), None)
    assert shortest_lines(from_counts(10, 100), 1)
    assert not shortest_lines(from_counts(10, 2), None)
    assert not shortest_lines(from_counts(10, None), None)
    assert np.all(from_counts(10, 1).lengths == 1)
