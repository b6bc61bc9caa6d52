"""The models of the cases as a folder each, as if they had been downloaded: configuration, random
weights, and a tokenizer that was trained on texts like the data's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.real.cases import VOCABULARY, RealCase
from benchmarks.real.made_data import SEED, texts

TRAINING_TEXTS = 3000


def make_model(case: RealCase, place: Path) -> Path:
    """The folder, written unless it is there."""
    folder = place / case.model
    if folder.exists():
        return folder
    import torch
    import transformers

    torch.manual_seed(SEED)
    more: dict[str, int] = {}
    if case.task != "image_classification":
        tokenizer = _tokenizer(case)
        tokenizer.save_pretrained(folder)
        more = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
        if case.task == "seq2seq_lm":
            more |= {
                "eos_token_id": tokenizer.eos_token_id,
                "decoder_start_token_id": tokenizer.pad_token_id,
            }
    if case.classes:
        more["num_labels"] = case.classes
    config = transformers.AutoConfig.for_model(case.architecture, **{**case.config, **more})
    auto_class(case).from_config(config).save_pretrained(folder)
    return folder


def auto_class(case: RealCase):
    """The class that a training script of the task loads."""
    import transformers

    return {
        "text_classification": transformers.AutoModelForSequenceClassification,
        "seq2seq_lm": transformers.AutoModelForSeq2SeqLM,
        "image_classification": transformers.AutoModelForImageClassification,
    }[case.task]


def _tokenizer(case: RealCase):
    """Wordpieces with BERT's marks, or a unigram model with T5's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    chance = np.random.default_rng(SEED)
    corpus = [" ".join(words) + "." for words in texts(TRAINING_TEXTS, chance)]
    if case.architecture == "bert":
        marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.train_from_iterator(
            corpus, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=marks)
        )
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(mark, made.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")],
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=made,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
        )
    marks = ["<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        corpus,
        trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=marks, unk_token="<unk>"),
    )
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", made.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
