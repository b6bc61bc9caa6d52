"""Recurrent models: a classifier of texts, and a forecaster after DeepAR."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

#: Tokens that the classifier knows, and the width of their vectors (as GloVe's published ones).
VOCABULARY, WORD_WIDTH = 30_000, 300
#: DeepAR (Salinas et al. 2020, arXiv 1704.04110) on hourly series: a week is read, a day forecast;
#: hour, weekday and age beside the value, and which series it is.
CONTEXT, HORIZON, COVARIATES, SERIES, SERIES_WIDTH = 168, 24, 4, 370, 20


class LstmClassifier(nn.Module):
    """Vectors of words, a bidirectional LSTM, its last states, one linear layer."""

    def __init__(self, hidden: int, layers: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WORD_WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(
            WORD_WIDTH,
            hidden,
            layers,
            batch_first=True,
            bidirectional=True,
            dropout=0.5 if layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(2 * hidden, classes)

    def example_batch(self, B: int, S: int) -> dict[str, torch.Tensor]:  # noqa: N803
        return {
            "input_ids": torch.empty(B, S, dtype=torch.int64),
            "labels": torch.empty(B, dtype=torch.int64),
        }

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        _, (last, _cell) = self.lstm(self.words(input_ids))
        logits = self.classifier(self.dropout(torch.cat((last[-2], last[-1]), -1)))
        if labels is None:
            return logits
        return nn.functional.cross_entropy(logits.float(), labels)


class DeepAR(nn.Module):
    """An LSTM over the value before, the covariates and the series; a normal distribution of the
    value, by its likelihood over all steps of context and horizon."""

    def __init__(self, hidden: int, layers: int, series: int = SERIES) -> None:
        super().__init__()
        self.series = nn.Embedding(series, SERIES_WIDTH)
        self.lstm = nn.LSTM(1 + COVARIATES + SERIES_WIDTH, hidden, layers, batch_first=True)
        self.parameters_of = nn.Linear(hidden, 2)

    def example_batch(self, B: int) -> dict[str, torch.Tensor]:  # noqa: N803
        steps = CONTEXT + HORIZON
        return {
            "before": torch.empty(B, steps, 1),
            "covariates": torch.empty(B, steps, COVARIATES),
            "series": torch.empty(B, dtype=torch.int64),
            "labels": torch.empty(B, steps),
        }

    def forward(
        self,
        before: torch.Tensor,
        covariates: torch.Tensor,
        series: torch.Tensor,
        labels: torch.Tensor | None = None,
    ) -> Any:
        scale = before.abs().mean(1, keepdim=True) + 1
        which = self.series(series)[:, None].expand(-1, before.shape[1], -1)
        out, _ = self.lstm(torch.cat((before / scale, covariates, which), -1))
        mean, spread = self.parameters_of(out).unbind(-1)
        if labels is None:
            return mean
        deviation = nn.functional.softplus(spread) + 1e-6
        distance = (labels / scale[..., 0] - mean) / deviation
        return (0.5 * distance.square() + deviation.log() + 0.5 * math.log(2 * math.pi)).mean()


def lstm_classifier(classes: int = 2) -> nn.Module:
    return LstmClassifier(256, 1, classes)


def lstm_classifier_large(classes: int = 2) -> nn.Module:
    return LstmClassifier(512, 2, classes)


def deepar(series: int = SERIES) -> nn.Module:
    return DeepAR(40, 3, series)


def deepar_large(series: int = SERIES) -> nn.Module:
    return DeepAR(120, 3, series)
