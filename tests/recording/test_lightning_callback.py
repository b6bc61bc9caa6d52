"""Real fits of Lightning's Trainer, recorded."""

import importlib.util

import pytest

torch = pytest.importorskip("torch")
if not importlib.util.find_spec("lightning"):
    pytest.skip("needs lightning", allow_module_level=True)

from planner.ledger.store import Ledger  # noqa: E402


def small(fails_at=None):
    """Lightning is imported by the tests that fit, not by every process that collects them: by the
    callback first, as it mends what torchvision lacks beside torch for processors."""
    import planner.recording.lightning_callback  # noqa: F401

    import lightning.pytorch as L  # isort: skip

    class Small(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.body, self.head = torch.nn.Linear(8, 8), torch.nn.Linear(8, 2)
            self.body.requires_grad_(False)

        def training_step(self, batch, index):
            if index == fails_at:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return torch.nn.functional.cross_entropy(
                self.head(self.body(batch["input_ids"])), batch["labels"]
            )

        def validation_step(self, batch, index):
            self.training_step(batch, -1)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)

    return Small()


def loader():
    data = [{"input_ids": torch.zeros(8), "labels": torch.tensor(1)} for _ in range(32)]
    return torch.utils.data.DataLoader(data, batch_size=4)


def fit(tmp_path, module, **known):
    import lightning.pytorch as L

    from planner.recording.lightning_callback import PlannerCallback

    callback = PlannerCallback({"model": "small"}, tmp_path / "l", **known)
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[callback],
        accumulate_grad_batches=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader(), loader())
    return callback


def read(tmp_path):
    with Ledger(tmp_path / "l", create=False) as ledger:
        return list(ledger.records())


def test_a_fit_is_recorded(tmp_path):
    callback = fit(tmp_path, small(), task="custom")
    (record,) = read(tmp_path)
    assert record == callback.record and record.source == "lightning.Trainer"
    assert {
        name: record.setup[name]
        for name in (
            "strategy",
            "micro_batch",
            "accumulation",
            "precision",
            "optimizer",
            "sequence_length",
            "epochs",
            "gpu",
            "task",
        )
    } == dict(
        strategy="feature_extraction",
        micro_batch=4,
        accumulation=2,
        precision="fp32",
        optimizer="sgd",
        sequence_length=8,
        epochs=2,
        gpu="cpu",
        task="custom",
    )
    found = record.measurement
    assert (
        found["steps"] == 8
        and found["samples_seen"] == 64
        and found["tokens"] == 512
        and found["paused_seconds"] > 0
    )
    assert (
        set(found["phase_seconds"]) == {"forward", "backward", "optimizer", "data"}
        and 0 < found["forward_seconds"] < found["step_seconds"]
    )


def test_out_of_memory_is_a_result(tmp_path):
    with pytest.raises(torch.OutOfMemoryError):
        fit(tmp_path, small(fails_at=5))
    (record,) = read(tmp_path)
    assert record.measurement["out_of_memory"] is True and record.measurement["steps"] == 2
