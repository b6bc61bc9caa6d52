"""Which task a model has: by its class, by the data, by its family; and what is said of it."""

import importlib.util
import json

import pytest

from planner.errors import ModelError
from planner.models.class_names import class_task, model_type_of
from planner.models.configs import model_types
from planner.models.resolve import resolve
from planner.models.tasks import choose_task, keeps_shape
from planner.question import Question
from planner.question.fields import choices
from planner.question.what import Task

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def config(folder, **keys):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**SMALL, **keys}))
    return str(folder)


def chosen(model_type, *names, task=None):
    return choose_task({"model_type": model_type, "architectures": list(names)}, task, "here")


@pytest.mark.parametrize(
    "model_type, name, task",
    [
        ("gemma3", "Gemma3ForConditionalGeneration", "causal_lm"),
        ("qwen2_vl", "Qwen2VLForConditionalGeneration", "causal_lm"),
        ("llava", "LlavaForConditionalGeneration", "causal_lm"),
        ("mistral3", "Mistral3ForConditionalGeneration", "causal_lm"),
        ("qwen2_audio", "Qwen2AudioForConditionalGeneration", "causal_lm"),
        ("t5", "T5ForConditionalGeneration", "seq2seq_lm"),
        ("t5", "T5WithLMHeadModel", "seq2seq_lm"),
        ("bart", "BartForConditionalGeneration", "seq2seq_lm"),
        ("marian", "MarianMTModel", "seq2seq_lm"),
        ("whisper", "WhisperForConditionalGeneration", "speech_recognition"),
        ("whisper", "WhisperForAudioClassification", "audio_classification"),
        ("wav2vec2", "Wav2Vec2ForCTC", "speech_recognition"),
        ("hubert", "HubertForCTC", "speech_recognition"),
        ("wav2vec2", "Wav2Vec2ForSequenceClassification", "audio_classification"),
        ("bert", "BertForMaskedLM", "masked_lm"),
        ("bert", "BertForSequenceClassification", "text_classification"),
        ("bert", "BertForTokenClassification", "token_classification"),
        ("distilbert", "DistilBertForQuestionAnswering", "question_answering"),
        ("gpt2", "GPT2LMHeadModel", "causal_lm"),
        ("gpt2", "GPT2ForSequenceClassification", "text_classification"),
        ("vit", "ViTForImageClassification", "image_classification"),
        ("clip", "CLIPModel", "contrastive"),
    ],
)
def test_the_class_says_what_is_trained(model_type, name, task):
    choice = chosen(model_type, name)
    assert choice.task == task
    assert task in choice.line.text and name in choice.line.text and not choice.line.warning


@pytest.mark.parametrize(
    ("model_type", "name", "task"),
    [
        ("detr", "DetrForObjectDetection", "object_detection"),
        ("detr", "DetrForSegmentation", "instance_segmentation"),
        ("mask2former", "Mask2FormerForUniversalSegmentation", "instance_segmentation"),
        ("beit", "BeitForSemanticSegmentation", "semantic_segmentation"),
        ("sam", "SamModel", "mask_generation"),
    ],
)
def test_detectors_and_segmenters_are_trained_as_their_class_says(model_type, name, task):
    assert chosen(model_type, name).task == task


@pytest.mark.parametrize(
    "model_type, name, words",
    [
        ("owlvit", "OwlViTForZeroShotObjectDetection", "object detection"),
        ("superpoint", "SuperPointForKeypointDetection", "key points"),
        ("bert", "BertForMultipleChoice", "multiple choice"),
        ("parakeet_ctc", "ParakeetForCTC", "CTC"),
        ("wav2vec2", "Wav2Vec2ForXVector", "speaker verification"),
        ("wavlm", "WavLMForAudioFrameClassification", "frames of sound"),
        ("dpt", "DPTForDepthEstimation", "depth estimation"),
        ("vivit", "VivitForVideoClassification", "videos"),
        ("kosmos-2", "Kosmos2ForConditionalGeneration", "writing"),
    ],
)
def test_a_class_without_a_task_of_its_own_is_named_and_trained_as_it_is(model_type, name, words):
    choice = chosen(model_type, name)
    assert choice.task == "custom" and choice.line.warning
    assert words in choice.line.text and name in choice.line.text
    assert "mean square" in choice.line.text and "\n" not in choice.line.text


def test_the_nearest_task_is_a_warning():
    choice = chosen("bert", "BertForNextSentencePrediction")
    assert choice.task == "text_classification" and choice.line.warning
    assert "next sentence prediction" in choice.line.text and "--task" in choice.line.text
    assert chosen("bert", "BertForPreTraining").task == "masked_lm"


def test_an_asked_task_is_taken_or_named_as_not_covered():
    assert chosen("bert", "BertForMaskedLM", task="text_classification").task == (
        "text_classification"
    )
    with pytest.raises(ModelError, match="speech_recognition is not covered for a bert model"):
        chosen("bert", task="speech_recognition")


@pytest.mark.parametrize(
    "model_type, task",
    [
        ("llama", "causal_lm"),
        ("mixtral", "causal_lm"),
        ("bert", "text_classification"),
        ("t5", "seq2seq_lm"),
        ("whisper", "speech_recognition"),
        ("wav2vec2", "audio_classification"),
        ("vit", "image_classification"),
        ("gemma3", "causal_lm"),
    ],
)
def test_without_a_class_the_family_decides_and_it_is_said(model_type, task):
    choice = chosen(model_type)
    assert choice.task == task and choice.open
    assert "usual task" in choice.line.text and "--task" in choice.line.text


def test_a_base_checkpoint_leaves_the_task_to_the_data():
    assert chosen("bert", "BertForMaskedLM").open
    assert chosen("wav2vec2", "Wav2Vec2ForPreTraining").open
    assert not chosen("bert", "BertForSequenceClassification").open
    assert not chosen("llama", "LlamaForCausalLM").open


def test_every_task_of_the_tables_is_one_that_can_be_asked_for():
    known = set(choices(Task))
    assert {task for tasks in model_types().values() for task in tasks} <= known


def test_every_class_of_transformers_has_a_task_or_one_line():
    """Over the library's own mappings of model types to classes."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("needs transformers")
    from transformers.models.auto import modeling_auto

    left_out = ("MODEL_MAPPING_NAMES", "MODEL_FOR_BACKBONE_MAPPING_NAMES")
    seen, refused = 0, 0
    for mapping, names in vars(modeling_auto).items():
        if not mapping.endswith("_NAMES") or mapping in left_out:
            continue
        for model_type, name in names.items():
            if model_type not in model_types():
                continue
            seen += 1
            name = name[0] if isinstance(name, (tuple, list)) else name
            try:
                choice = chosen(model_type, name)
            except ModelError as error:
                refused += 1
                assert "is not covered" in str(error) and "\n" not in str(error), (model_type, name)
                continue
            own = choice.task == "custom"
            assert own or choice.task in model_types()[model_type], (model_type, name)
            assert name in choice.line.text or "usual task" in choice.line.text
    assert seen > 900 and refused < seen / 2


def test_every_language_model_of_transformers_writes():
    """A class for causal language modelling is trained as one, whatever else its type can do."""
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("needs transformers")
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    for model_type, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        if name.endswith(("ForCausalLM", "ForConditionalGeneration")):
            possible = model_types().get(model_type, frozenset())
            if "causal_lm" in possible and not {"seq2seq_lm", "speech_recognition"} & possible:
                assert chosen(model_type, name).task == "causal_lm", model_type


# ---- what configs leave out


def test_a_family_is_known_by_its_class(tmp_path):
    facts = resolve(config(tmp_path / "m", architectures=["LlamaForCausalLM"], vocab_size=512))
    assert facts.config["model_type"] == "llama" and facts.task == "causal_lm"
    assert any("names no model_type" in line.text for line in facts.first_lines)
    same = resolve(config(tmp_path / "n", model_type="llama", vocab_size=512))
    assert facts.fingerprint == same.fingerprint
    for name, family in {
        "XLMRobertaForMaskedLM": "xlm-roberta",
        "Qwen2VLForConditionalGeneration": "qwen2_vl",
        "GPTNeoXForCausalLM": "gpt_neox",
        "GPT2LMHeadModel": "gpt2",
        "Qwen2_5_VLForConditionalGeneration": "qwen2_5_vl",
    }.items():
        assert model_type_of(name, model_types()) == family
    assert model_type_of("SomethingElse", model_types()) is None


def test_neither_family_nor_class_is_one_line(tmp_path):
    with pytest.raises(ModelError, match="model_type"):
        resolve(config(tmp_path / "m"))
    with pytest.raises(ModelError, match="model_type"):
        resolve(config(tmp_path / "n", architectures=["NobodyKnowsForCausalLM"]))


def test_a_language_model_without_a_dtype_says_what_is_taken(tmp_path):
    plain = resolve(config(tmp_path / "m", model_type="llama", vocab_size=512))
    assert plain.weights_dtype is None
    assert any("states no dtype" in line.text for line in plain.first_lines)
    stated = resolve(
        config(tmp_path / "n", model_type="llama", vocab_size=512, torch_dtype="bfloat16")
    )
    assert stated.weights_dtype == "bfloat16"
    assert not any("dtype" in line.text for line in stated.first_lines)
    encoder = resolve(config(tmp_path / "o", model_type="bert"))
    assert not any("dtype" in line.text for line in encoder.first_lines)


@pytest.mark.parametrize("part", ["text_config", "llm_config", "language_config"])
def test_the_language_model_of_a_multimodal_config_is_read(tmp_path, part):
    text = {**SMALL, "num_hidden_layers": 7, "vocab_size": 999, "dtype": "bfloat16"}
    file = tmp_path / part / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"model_type": "internvl", part: {**text, "model_type": "llama"}}))
    facts = resolve(str(file.parent))
    assert (facts.blocks, facts.vocabulary, facts.weights_dtype) == (7, 999, "bfloat16")


def test_the_thinker_of_an_omni_model_is_planned(tmp_path):
    thinker = {
        "model_type": "qwen2_5_omni_thinker",
        "text_config": {**SMALL, "model_type": "qwen2_5_omni_text", "vocab_size": 512},
    }
    path = config(
        tmp_path / "m",
        model_type="qwen2_5_omni",
        architectures=["Qwen2_5OmniModel"],
        torch_dtype="bfloat16",
        thinker_config=thinker,
    )
    facts = resolve(path)
    assert facts.task == "causal_lm" and facts.weights_dtype == "bfloat16"
    assert facts.config["model_type"] == "qwen2_5_omni_thinker"
    assert any("thinker" in line.text for line in facts.first_lines)


def test_every_origin_says_its_task():
    for name in ("bert-base-uncased", "7B", "timm:resnet50", "torchvision:resnet50", "resnet50"):
        lines = [line for line in resolve(name, offline=True).first_lines if line.topic == "task"]
        assert len(lines) == 1, name


def test_a_class_ending_is_matched_by_its_longest():
    assert class_task("XForZeroShotObjectDetection").words == "object detection"
    assert class_task("DeiTForImageClassificationWithTeacher").tasks == ("image_classification",)
    assert class_task("BertModel") is None and class_task(None) is None
    assert Question(model="a", samples=1, task="question_answering").task == "question_answering"


def test_images_that_keep_their_shape_are_told():
    assert keeps_shape("transformers", None, "detr", "object_detection")
    assert not keeps_shape("transformers", None, "rt_detr", "object_detection")
    assert not keeps_shape("transformers", None, "detr", "image_classification")
    assert keeps_shape("torchvision", "fcos_resnet50_fpn", "", "object_detection")
    assert not keeps_shape("torchvision", "ssd300_vgg16", "", "object_detection")
    assert not keeps_shape("torchvision", "fcn_resnet50", "", "semantic_segmentation")
