"""Knowledge distillation as torchtune's recipes run it (pytorch/torchtune
recipes/knowledge_distillation_single_device.py, torchtune/modules/loss/kd_losses.py:
``ForwardKLWithChunkedOutputLoss``): texts of the data, their usual loss and the forward divergence
from a teacher, each on eight chunks of both models' logits, which stay in the weights' number
format until a chunk is worked on."""

from __future__ import annotations

from planner.training.objective import IN_STEP, TEXTS, TORCHTUNE, Objective

#: ``kd_ratio`` of the recipes; it changes no cost.
RATIO = 0.5
#: ``num_output_chunks``, and the sizes of a chunk of the tokens and of a batch's.
CHUNKS = 8
CHUNK_SIZES = (f"S*1/{CHUNKS}", f"BS*1/{CHUNKS}")
IGNORED = -100


def batch(sizes):
    return sizes.labelled()


def loss(passes, batch):
    student = _chunks(passes.module, batch)
    passes.ended()
    passes.entering()
    teacher = _without_gradients(passes.teacher, batch)
    passes.leaving()
    passes.ended()
    labels = [part.reshape(-1) for part in batch["labels"].tensor_split(CHUNKS, dim=1)]
    apart, own = 0.0, 0.0
    learnt = (batch["labels"] != IGNORED).sum()
    for mine, taught, wanted in zip(student, teacher, labels, strict=True):
        apart = apart + _divergence(mine, taught, wanted)
    passes.waiting()  # whether any token is learnt of
    for mine, wanted in zip(student, labels, strict=True):
        own = own + _cross_entropy(mine, wanted)
    return (1 - RATIO) * (own / learnt) + RATIO * (apart / learnt)


def _chunks(module, batch):
    """Logits of each chunk, [B·S/8, V]."""
    model = getattr(module, "get_base_model", lambda: module)()  # adapters wrap it
    inner = getattr(model, model.base_model_prefix)
    hidden = inner(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).last_hidden_state
    head = model.get_output_embeddings()
    made = [head(chunk) for chunk in hidden.tensor_split(CHUNKS, dim=1)]
    return [chunk.reshape(-1, chunk.shape[-1]) for chunk in made]


def _without_gradients(module, batch):
    import torch

    with torch.no_grad():
        return _chunks(module, batch)


def _divergence(student, teacher, labels):
    import torch
    from torch.nn.functional import log_softmax, softmax

    chances = softmax(teacher, dim=-1, dtype=torch.float32)
    infinite = torch.isinf(student)
    logs = log_softmax(student, dim=-1, dtype=torch.float32)
    each = torch.masked_fill(chances * logs, infinite, 0).sum(dim=-1).view(-1)
    return -(each * (labels != IGNORED).int()).sum()


def _cross_entropy(logits, labels):
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")


OBJECTIVE = Objective(
    "kd",
    "knowledge distillation",
    "texts, their own tokens and a teacher's chances of every token",
    TEXTS,
    order=110,
    batch=batch,
    loss=loss,
    teacher=IN_STEP,
    library=TORCHTUNE,
    rounded=CHUNK_SIZES,
)
