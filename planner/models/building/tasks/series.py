"""Forecasts of series: windows of past values, the values that follow."""

from __future__ import annotations

from typing import Any

from planner.models.building.tasks.base import Feed, TrainingTask
from planner.models.constants import constant

SAID = (
    "a sample is one window: the past values that the config's context and lags ask for, and the "
    "values that follow; every window of every series is one sample"
)
#: The class that forecasts, by model type: one of them is in an auto class of the library.
CLASSES = {
    "patchtst": "PatchTSTForPrediction",
    "patchtsmixer": "PatchTSMixerForPrediction",
    "informer": "InformerForPrediction",
    "autoformer": "AutoformerForPrediction",
    "time_series_transformer": "TimeSeriesTransformerForPrediction",
    "timesfm": "TimesFmModelForPrediction",
    "timesfm2_5": "TimesFm2_5ModelForPrediction",
}


def _adapt(config: Any, _classes: int | None) -> None:
    """What the families' default configs leave open."""
    if getattr(config, "prediction_length", 0) is None:
        config.prediction_length = int(constant("prediction_length"))
        if getattr(config, "context_length", None) is None:
            config.context_length = config.prediction_length


def _windows(feed: Feed, b: int, _s: int | None, _t: int | None) -> dict[str, Any]:
    config = feed.config
    if hasattr(config, "lags_sequence"):
        return _lagged(feed, b)
    if hasattr(config, "horizon_length"):
        return {
            "past_values": feed.values(b, config.context_length),
            "future_values": feed.values(b, config.horizon_length),
        }
    channels = config.num_input_channels
    return {
        "past_values": feed.values(b, config.context_length, channels),
        "future_values": feed.values(b, config.prediction_length, channels),
    }


def _lagged(feed: Feed, b: int) -> dict[str, Any]:
    """Encoder-decoders that read earlier values as features: the window is longer by the largest
    lag."""
    config = feed.config
    past = config.context_length + max(config.lags_sequence)
    future = config.prediction_length
    width = (config.input_size,) if config.input_size > 1 else ()
    batch = {
        "past_values": feed.values(b, past, *width),
        "past_time_features": feed.values(b, past, config.num_time_features),
        "past_observed_mask": feed.values(b, past, *width),
        "future_values": feed.values(b, future, *width),
        "future_time_features": feed.values(b, future, config.num_time_features),
    }
    if config.num_static_categorical_features:
        batch["static_categorical_features"] = feed.ids(b, config.num_static_categorical_features)
    if config.num_static_real_features:
        batch["static_real_features"] = feed.values(b, config.num_static_real_features)
    return batch


def _forecast(module: Any, batch: dict[str, Any]) -> Any:
    """The forecast, or the parameters of its distribution side by side."""
    import torch

    out = module(**batch)
    for name in ("mean_predictions", "prediction_outputs", "params"):
        found = getattr(out, name, None)
        if isinstance(found, torch.Tensor):
            return found
        if isinstance(found, (tuple, list)) and found:
            return torch.stack(tuple(found), -1)
    return out[1]


def _head(module: Any) -> tuple[str, ...]:
    names = [name for name, part in module.named_children() if any(True for _ in part.parameters())]
    return tuple(names[-1:])


def _said(_module: Any, _config: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    return frozenset(), (SAID,)


TASKS = (
    TrainingTask(
        "time_series_forecasting",
        ("AutoModelForTimeSeriesPrediction",),
        _windows,
        symbols=("B",),
        logits=_forecast,
        head=_head,
        adapt=_adapt,
        frozen=_said,
        own_classes=CLASSES,
    ),
)
