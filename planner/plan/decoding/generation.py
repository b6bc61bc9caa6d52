"""Seconds in which transformers' ``generate`` writes text for one batch of an evaluation.

An encoder reads the batch once, its keys and values are made for every written row (samples times
beams), and then each token is one forward pass of the decoder without gradients: on the host it
costs every kernel's launch, on the device its weights (cast again at every pass under autocast)
and the rows' keys and values, which grow. A dynamic cache is copied whole when a token is appended
(``torch.cat``), and beams copy it once more into their new order, the encoder's part with it
(transformers@5.23 cache_utils.py: DynamicLayer.update, EncoderDecoderCache.reorder_cache). Between
two passes the host reads whether all rows have ended, so that device and host wait for each other:
processors, stopping criteria and beam search stand between them (rows of kind ``generation``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.devices.priors import prior
from planner.devices.specification import DeviceSpec
from planner.plan.decoding.cache import KeysAndValues, keys_and_values
from planner.plan.decoding.cut import Decoder, decoder, inference
from planner.plan.decoding.cut import kept as cut_to
from planner.plan.decoding.inference import known_by
from planner.step_time.clock import StepClock, StepTime
from planner.step_time.host import HostCosts
from planner.trace.source import TraceSource
from planner.trace.table import StepTrace, traced_length

#: Precisions in which keys, values and logits are kept in four bytes.
FOUR_BYTES = ("fp32", "tf32")
#: Of a number of the logits, which ``generate`` works on in float32.
LOGIT_BYTES = 4


@dataclass(frozen=True)
class Batch:
    """``samples`` of which each is written in ``beams`` rows of ``tokens``; ``length`` and
    ``target_length`` as the batch is padded (S and T), None where there is none."""

    samples: int
    beams: int
    tokens: float
    length: float | None
    target_length: float | None

    @property
    def rows(self) -> int:
        return self.samples * self.beams


@dataclass(frozen=True)
class Generation:
    """Of one batch: seconds to read it, and of one token of all rows. ``cache_bytes``: keys and
    values at the end, of what is written and of what was read."""

    reading_seconds: float
    token_seconds: float
    tokens: float
    cache_bytes: float

    @property
    def seconds(self) -> float:
        return self.reading_seconds + self.tokens * self.token_seconds


def generation(
    source: TraceSource, clock: StepClock, batch: Batch, *, cached: bool = True
) -> Generation | None:
    """None where the model's trace or config does not tell a token's work. ``cached``: whether keys
    and values are kept, else every token reads all before it again (``use_cache`` of ``generate``
    off). Raises the errors of tracing."""
    key = (*known_by(clock), batch, cached)
    return source.memo.of(
        "generation", key, lambda: _generation(source.eager, clock, batch, cached=cached)
    )


def _generation(
    source: TraceSource, clock: StepClock, batch: Batch, *, cached: bool
) -> Generation | None:
    # other operations run for a batch of one; a token's work is taken from larger ones
    trace = source.at(
        B=max(2, batch.rows),
        S=traced_length(batch.length),
        T=traced_length(batch.target_length),
    )
    parts, kept = decoder(trace), keys_and_values(source.facts.config or {})
    if parts is None or kept is None:
        return None
    work = _Writing(source, clock, batch, trace, parts, kept)
    if not cached and not work.encodes:
        return Generation(0.0, work.uncached_token(), batch.tokens, 0.0)
    return Generation(work.reading(), work.token(), batch.tokens, work.cache_bytes())


@dataclass(frozen=True)
class _Writing:
    source: TraceSource
    clock: StepClock
    batch: Batch
    trace: StepTrace
    parts: Decoder
    kept: KeysAndValues

    @property
    def spec(self) -> DeviceSpec:
        return self.clock.spec

    @property
    def encodes(self) -> bool:
        return self.parts.encoder.op_count > 0

    @property
    def prompt(self) -> float:
        """Tokens that a decoder alone has read before it writes."""
        return 0.0 if self.encodes else max(1.0, (self.batch.length or 1.0) - self.batch.tokens)

    @property
    def read_positions(self) -> float:
        """What each row keeps of an encoder."""
        if not self.encodes:
            return 0.0
        # S is the encoder's where T is written, else the decoder's own
        read = self.batch.length if self.parts.symbol == "T" else self.kept.encoder_positions
        return float(read or 0.0)

    @property
    def token_bytes(self) -> float:
        four = self.source.recipe.precision in FOUR_BYTES
        return self.kept.bytes_per_token(4.0 if four else 2.0)

    def priced(self, trace: StepTrace, rows: int, written: int) -> StepTime:
        """A cut at so many rows and a written length."""
        lengths = {"S": self.batch.length, "T": self.batch.target_length}
        point = {name: traced_length(value) for name, value in lengths.items()}
        point |= {"B": rows, self.parts.symbol: written}
        return self.clock.price(
            trace,
            trace.dims(**point),
            precision=self.source.recipe.precision,
            compiled=self.source.recipe.compile,
            in_loop=False,
        )

    def reading(self) -> float:
        """The encoder once a sample, its keys and values once a row; or the prompt of every row."""
        rows = self.batch.rows
        if not self.encodes:
            prompt = traced_length(self.prompt) or 1
            return float(self.priced(inference(self.trace), rows, prompt).seconds)
        encoder = self.priced(self.parts.encoder, self.batch.samples, 1).seconds
        keys = self.priced(self.parts.keys, rows, 1).seconds if self.parts.keys.op_count else 0.0
        return float(encoder) + float(keys)

    def token(self) -> float:
        """One token of every row, in the middle of what is written."""
        step = self.priced(self.parts.step, self.batch.rows, 1)
        operations, moved = self._cache_operations(), self._cache_seconds()
        host = float(step.host_seconds) + operations * self._no_grad_seconds
        device = float(step.device_busy_seconds) + moved
        own_host, own_device = self._own()
        if self.spec.one_clock:
            walked = float(step.seconds) + operations * self._no_grad_seconds + moved
        else:
            walked = max(float(step.seconds), host, device)
        return walked + own_host + own_device

    def uncached_token(self) -> float:
        """One token of every row, in the middle of what is written, where all before it is read
        again: the head's product alone is of the last place (``logits_to_keep``)."""
        step, rows = self.parts.step, self.batch.rows
        head = np.arange(step.op_count) == step.op_count - 1
        read = traced_length(self.prompt + self.batch.tokens / 2) or 1
        body = self.priced(cut_to(step, ~head), rows, read)
        last = self.priced(cut_to(step, head), rows, 1)
        own_host, own_device = self._own()
        return float(body.seconds) + float(last.seconds) + own_host + own_device

    def cache_bytes(self) -> float:
        """Keys and values of all rows when the last token is written."""
        length = self.prompt + self.batch.tokens + self.read_positions
        return self.batch.rows * self.token_bytes * length

    @property
    def _no_grad_seconds(self) -> float:
        return HostCosts(self.spec).no_grad_seconds

    def _cache_operations(self) -> float:
        """Launches that a cache adds to a pass: appending in every layer; with beams reordering."""
        each = prior(self.spec, "generation", "cache_operations")
        if self.batch.beams > 1:
            caches = 2 if self.encodes else 1
            each += caches * prior(self.spec, "generation", "reorder_operations")
        return each * self.kept.layers

    def _cache_seconds(self) -> float:
        """Keys and values as they are read, copied to append one, and copied to reorder beams."""
        middle = self.prompt + self.batch.tokens / 2
        passes = prior(self.spec, "generation", "cache_passes")
        numbers = middle * passes
        if self.batch.beams > 1:
            reordered = prior(self.spec, "generation", "reorder_passes")
            numbers += (middle + self.read_positions) * reordered
        return self._seconds_of(self.batch.rows * self.token_bytes * numbers)

    def _own(self) -> tuple[float, float]:
        """(host, device) seconds of ``generate`` itself for a token: operations on the logits, and
        the question whether all rows have ended."""
        of = "" if self.batch.beams == 1 else "beam_"
        operations = prior(self.spec, "generation", f"{of}operations")
        host = operations * self._no_grad_seconds + HostCosts(self.spec).of("synchronise_seconds")
        passes = prior(self.spec, "generation", f"{of}logit_passes")
        return host, self._seconds_of(passes * self.batch.rows * self._vocabulary * LOGIT_BYTES)

    @property
    def _vocabulary(self) -> int:
        """Width of the last product, which makes the logits."""
        last = self.parts.step.signatures[self.parts.step.op_signature[-1]]
        dims: np.ndarray = self.trace.dims(B=1, S=1, T=1)
        return int(dims[last.outputs[0].shape[-1]])

    def _seconds_of(self, moved_bytes: float) -> float:
        speed = self.spec.bandwidth_bytes_per_s() or self.spec.bandwidth_bytes_per_s("calibrated")
        share = prior(self.spec, "copy", "bandwidth_share")
        return 0.0 if speed is None else moved_bytes / (speed * share)
