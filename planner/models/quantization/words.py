"""What is said of a quantised checkpoint: in the first lines, and where a strategy cannot train
it."""

from __future__ import annotations

from planner.errors import FieldName, ModelError
from planner.first_lines import FirstLine
from planner.models.quantization.stored import Quantization

#: Strategies that train the stored weights themselves.
TRAIN_WEIGHTS = ("fine_tune", "partial_fine_tune", "distillation")


def first_lines(quantization: Quantization | None) -> tuple[FirstLine, ...]:
    if quantization is None:
        return ()
    if not quantization.known:
        return (
            FirstLine(
                "model",
                f"the config says that its weights are quantised by {quantization.method!r}, which "
                "planner does not know: they are counted as plain weights, too many bytes",
                warning=True,
            ),
        )
    text = (
        f"its weights are stored quantised ({quantization.words}, {quantization.detail}) and "
        "counted so: adapters train over them; full and partial fine-tuning cannot train "
        "them, and training from scratch does not read them"
    )
    lines = [FirstLine("model", text)]
    if quantization.dequantise_first:
        lines.append(
            FirstLine(
                "model",
                f"transformers trains adapters over {quantization.words} only after it has "
                "dequantised it, in 16 bits: name the folder of a 16-bit checkpoint to price that",
                warning=True,
            )
        )
    return tuple(lines)


def unsaid(quantization: Quantization | None, packed: bool) -> tuple[FirstLine, ...]:
    """Where a checkpoint holds quantised weights and its config does not say how."""
    if not packed or quantization is not None:
        return ()
    return (
        FirstLine(
            "model",
            "its checkpoint holds quantised weights, and no quantization_config says how: they are "
            "counted as plain weights, too many bytes",
            warning=True,
        ),
    )


class StoredWeightsError(ModelError):
    """A strategy trains the weights themselves, and the checkpoint holds them quantised."""


def refusal(name: str, quantization: Quantization, strategy: str) -> StoredWeightsError | None:
    """Why a strategy cannot train a model of stored weights, None where it can."""
    if not quantization.known or strategy not in TRAIN_WEIGHTS:
        return None
    floats = quantization.method == "fp8" or "float" in quantization.words
    kind = "quantised" if quantization.groups else "8-bit float" if floats else "integer"
    return StoredWeightsError(
        f"its weights are stored as {quantization.words} ({quantization.detail}), and {kind} "
        "weights cannot be trained",
        where=name,
        mend=f"Ask for {FieldName('strategy')} lora, which trains adapters over them, or "
        "dequantise the checkpoint first and name that folder",
    )
