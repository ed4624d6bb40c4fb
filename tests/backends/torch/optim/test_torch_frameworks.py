"""Our torch classes under Lightning, the Hugging Face Trainer and Accelerate: losses are those of
torch's own AdamW, and a run that is resumed from the framework's checkpoint is the uninterrupted
one.

The frameworks are no part of the ``test`` extra; ``SAMESTEP_TEST_FRAMEWORKS=1`` says that they must
be there."""

from __future__ import annotations

import importlib.util
import logging
import os

import numpy as np
import pytest
import samestep.torch as ours
import torch

REQUIRED = os.environ.get("SAMESTEP_TEST_FRAMEWORKS") == "1"
MISSING = [
    n for n in ("lightning", "transformers", "accelerate") if not importlib.util.find_spec(n)
]
pytestmark = [
    pytest.mark.skipif(bool(MISSING) and not REQUIRED, reason=f"not installed: {MISSING}"),
    pytest.mark.filterwarnings("ignore"),  # theirs, at import and of each other's versions
]
EPOCHS, BATCHES, SIZE = 4, 6, 8
# of the losses, in float64 as in test_torch_training, and where the forward pass is in bfloat16;
# what is changed on purpose has to be noticed
DOUBLE = 1e-12, dict(eps=1.01e-8)
HALF = 5e-4, dict(betas=(0.9, 0.99))


def examples():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCHES * SIZE, 4, generator=generator, dtype=torch.float64)
    return torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True).sin())


def network(dtype):
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    return torch.nn.Sequential(*layers).to(dtype)


def optimizer_and_scheduler(make, params):
    optimizer = make(params, lr=0.01, weight_decay=0.1)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=100)


def loss_of(model, batch):
    x, y = (part.to(next(model.parameters()).dtype) for part in batch)
    return torch.nn.functional.mse_loss(model(x), y)


def under_lightning(make, folder, resume, manual=False, dtype=torch.float64, **options):
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network, self.losses = network(dtype), []
            self.automatic_optimization = not manual

        def configure_optimizers(self):
            optimizer, scheduler = optimizer_and_scheduler(make, self.parameters())
            return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

        def training_step(self, batch, _):
            loss = loss_of(self.network, batch)
            self.losses.append(loss.item())
            if not manual:
                return loss
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, 0.1, "norm")
            optimizer.step()
            return self.lr_schedulers().step()

    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, "{epoch}", save_top_k=-1)],
        **options,
    )
    loader = torch.utils.data.DataLoader(examples(), batch_size=SIZE)
    trainer.fit(module, loader, ckpt_path=folder / "epoch=1.ckpt" if resume else None)
    return module.losses


def under_the_trainer(make, folder, resume, by_class=False, **options):
    import transformers

    transformers.utils.logging.set_verbosity_error()

    class Model(transformers.GPT2LMHeadModel):
        def forward(self, input_ids, labels):
            logits = super().forward(input_ids).logits[:, :-1]  # its own loss is in float32
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
            losses.append(loss.item())
            return {"loss": loss}

    losses = []
    torch.manual_seed(0)
    shape = dict(vocab_size=17, n_positions=10, n_embd=16, n_layer=1, n_head=2)
    still = dict(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = Model(
        transformers.GPT2Config(**shape, **still, bos_token_id=0, eos_token_id=0)
    ).double()
    sequences = [(torch.arange(10) * (i % 5 + 1) + i) % 17 for i in range(BATCHES * SIZE)]
    chosen = (
        {"optimizer_cls_and_kwargs": (make, dict(lr=5e-3, weight_decay=0.1))}
        if by_class
        else {"optimizers": optimizer_and_scheduler(make, model.parameters())}
    )
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=SIZE,
            save_strategy="epoch",
            max_grad_norm=0.5,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            **options,
        ),
        train_dataset=[dict(input_ids=ids, labels=ids) for ids in sequences],
        **chosen,
    )
    updates = EPOCHS // 2 * BATCHES // options.get("gradient_accumulation_steps", 1)
    trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{updates}") if resume else None)
    return losses


def under_accelerate(make, folder, resume, dtype=torch.float64, **options):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, **options)
    model = network(dtype)
    loader = torch.utils.data.DataLoader(examples(), batch_size=SIZE)
    model, loader, optimizer, scheduler = accelerator.prepare(
        model, loader, *optimizer_and_scheduler(make, model.parameters())
    )
    if resume:
        accelerator.load_state(str(folder))
    losses = []
    for epoch in range(EPOCHS // 2 if resume else 0, EPOCHS):
        for batch in loader:
            with accelerator.accumulate(model):
                loss = loss_of(model, batch)
                losses.append(loss.item())
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        if not resume and epoch == EPOCHS // 2 - 1:
            accelerator.save_state(str(folder))
    return losses


SINGLE = dict(dtype=torch.float32)
RUNS = {
    "Lightning": (under_lightning, dict(gradient_clip_val=0.1), DOUBLE),
    "Lightning, accumulating": (under_lightning, dict(accumulate_grad_batches=2), DOUBLE),
    "Lightning, manual": (under_lightning, dict(manual=True), DOUBLE),
    "Lightning, bf16-mixed": (under_lightning, dict(precision="bf16-mixed", **SINGLE), HALF),
    "Trainer, optimizers": (under_the_trainer, dict(gradient_accumulation_steps=2), DOUBLE),
    "Trainer, optimizer_cls_and_kwargs": (under_the_trainer, dict(by_class=True), DOUBLE),
    "Accelerate": (under_accelerate, {}, DOUBLE),
    "Accelerate, bf16": (under_accelerate, dict(mixed_precision="bf16", **SINGLE), HALF),
}


def relative_difference(losses, others):
    return float(np.max(np.abs(np.array(losses) / np.array(others) - 1)))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def slightly_wrong(**changed):
    class Wrong(torch.optim.AdamW):
        def __init__(self, params, **options):
            super().__init__(params, **{**options, **changed})

    return Wrong


@pytest.mark.parametrize("name", RUNS)
def test_training(name, tmp_path):
    run, options, (tolerance, changed) = RUNS[name]
    losses = run(ours.AdamW, tmp_path / "ours", False, **options)
    assert len(losses) == EPOCHS * BATCHES
    assert run(ours.AdamW, tmp_path / "ours", True, **options) == losses[EPOCHS // 2 * BATCHES :]
    theirs = run(torch.optim.AdamW, tmp_path / "theirs", False, **options)
    assert relative_difference(losses, theirs) <= tolerance
    wrong = run(slightly_wrong(**changed), tmp_path / "control", False, **options)
    assert relative_difference(losses, wrong) > tolerance
