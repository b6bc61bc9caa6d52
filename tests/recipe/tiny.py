"""A model, a tokenizer and data that are small enough to train in seconds, on a processor."""

import json

from planner.libraries import import_library


def llama(folder):
    """Random weights of a Llama of two layers, with a tokenizer of its texts."""
    transformers = import_library("transformers", "the tests")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    learning = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([said(i) for i in range(100)], learning)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    fast.save_pretrained(folder)
    config = transformers.LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=fast.pad_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def said(i):
    return f"What is {i} plus {i}? It is {2 * i}, since {i} and {i} make {2 * i}."


def lines(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def chats(file, count=60):
    return lines(
        file,
        (
            {
                "messages": [
                    {"role": "user", "content": said(i).split("?")[0] + "?"},
                    {"role": "assistant", "content": said(i).split("? ")[1]},
                ]
            }
            for i in range(count)
        ),
    )


def pairs(file, count=40):
    return lines(
        file,
        (
            {"prompt": f"What is {i}?", "chosen": f"A number, {i}.", "rejected": "No idea at all."}
            for i in range(count)
        ),
    )


def labelled(file, count=60):
    return lines(
        file,
        (
            {"text": said(i) + " Or is it not?", "label": ("even", "odd")[i % 2]}
            for i in range(count)
        ),
    )


def images(folder, classes=("cat", "dog", "owl"), each=14):
    from PIL import Image

    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            color = (80 * number, 10 * i, 120)
            Image.new("RGB", (40, 36), color).save(folder / name / f"{i}.png")
    return folder
