"""One of two processes that hold the halves of sharded parameters; each function is a check.

``python sharded_processes.py RANK FOLDER`` runs all of them; what failed, and how, goes to
``RANK.json`` in the folder, where the checks keep their files, too.
"""

from __future__ import annotations

import copy
import datetime
import json
import re
import sys
import traceback
import warnings
from pathlib import Path

import samestep.torch as ours
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from samestep.backends.foreign import as_numpy
from samestep.golden.compare import assert_same_bits
from samestep.optimizers import CLASS_NAMES
from torch.distributed import fsdp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    get_state_dict,
    set_optimizer_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import SequenceParallel, parallelize_module
from torch.nn.utils import clip_grad_norm_

CHECKS = {}
FULL = StateDictOptions(full_state_dict=True)
REDUCING = ["LAMB", "LARS", "NovoGrad", "Adafactor"]
SHAPES = {"even": (4, 6), "odd": (5, 3), "vector": (3,), "on one of them": (1,)}


def check(function):
    CHECKS[function.__name__] = function
    return function


# ---- the whole and its parts


def whole_tensors(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator).to(dtype) for n, s in SHAPES.items()}


def parameters(place=None, dtype=torch.float32):
    """The same parameters in every process: whole ones, or parts of them."""
    return {
        name: torch.nn.Parameter(place(tensor) if place else tensor)
        for name, tensor in whole_tensors(0, dtype).items()
    }


def on(mesh, *placements):
    """``place`` for these placements; no communication."""
    return lambda tensor: distribute_tensor(tensor, mesh, placements, src_data_rank=None)


def step(params, optimizer, first, last, place=None):
    """Steps with the same gradients in every process."""
    dtype = next(iter(params.values())).dtype
    for i in range(first, last):
        for name, grad in whole_tensors(100 + i, dtype).items():
            params[name].grad = place(grad) if place else grad
        optimizer.step()
    return params


def full(tensor):
    """A copy of the whole."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def assert_same(params, optimizer, whole, whole_optimizer):
    """Parameters and state have the bits of the whole ones."""
    for param, expected in zip(params.values(), whole.values(), strict=True):
        assert_same_bits(as_numpy(full(param)), as_numpy(expected))
        entry, other = optimizer.state[param], whole_optimizer.state[expected]
        assert entry.keys() == other.keys()
        for name, value in other.items():
            assert_same_bits(full(entry[name]).numpy(), value.numpy())


def network(shard=None, **options):
    """Two layers, the same in every process; sharded by FSDP on request."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    return fsdp.fully_shard(model, mesh=shard, **options) if shard else model


def loss_of(model, i):
    """Of another batch in each process."""
    seed = 2 * i + dist.get_rank()
    return model(torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))).square().mean()


def train(model, optimizer, first, last, around=None):
    for i in range(first, last):
        optimizer.zero_grad()
        loss_of(model, i).backward()
        if around:
            around()
        optimizer.step()
    return model


def assert_same_parameters(model, other):
    for param, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert_same_bits(full(param).numpy(), full(expected).numpy())


# ---- steps


@check
def a_step_has_the_bits_of_the_whole(mesh, folder):
    both = init_device_mesh("cpu", (1, 2))
    places = on(mesh, Shard(0)), on(mesh, Shard(-1)), on(both, Replicate(), Shard(0))
    for name in sorted(set(CLASS_NAMES.values()) - set(REDUCING)):
        for place in places:
            make = getattr(ours, name)
            options = dict(momentum=0.9) if name == "SGD" else {}
            whole, params = parameters(), parameters(place)
            optimizers = make(whole.values(), **options), make(params.values(), **options)
            step(whole, optimizers[0], 0, 4)
            step(params, optimizers[1], 0, 4, place)
            assert_same(params, optimizers[1], whole, optimizers[0])


@check
def so_has_every_implementation_and_dtype(mesh, folder):
    place = on(mesh, Shard(0))
    for dtype in (torch.float64, torch.bfloat16):
        whole = parameters(dtype=dtype)
        reference = ours.AdamW(whole.values(), backend="numpy")
        step(whole, reference, 0, 3)
        for backend in ("numpy", "torch:forloop", "torch:foreach", "torch:fused"):
            params = parameters(place, dtype)
            optimizer = ours.AdamW(params.values(), backend=backend)
            step(params, optimizer, 0, 3, place)
            assert_same(params, optimizer, whole, reference)


@check
def control_another_beta_is_noticed(mesh, folder):
    place = on(mesh, Shard(0))
    whole, params = parameters(), parameters(place)
    optimizers = ours.AdamW(whole.values()), ours.AdamW(params.values(), betas=(0.9, 0.9991))
    step(whole, optimizers[0], 0, 4)
    step(params, optimizers[1], 0, 4, place)
    try:
        assert_same(params, optimizers[1], whole, optimizers[0])
    except AssertionError:
        return
    raise AssertionError("nothing was noticed")


@check
def replicated_parameters_may_be_summed_over(mesh, folder):
    place = on(mesh, Replicate())
    for name in REDUCING:
        make = getattr(ours, name)
        whole, params = parameters(), parameters(place)
        optimizers = make(whole.values(), lr=0.1), make(params.values(), lr=0.1)
        step(whole, optimizers[0], 0, 3)
        step(params, optimizers[1], 0, 3, place)
        assert_same(params, optimizers[1], whole, optimizers[0])


@check
def training_under_fsdp(mesh, folder):
    """Gradient clipping over all shards, a scheduler: as the whole with the same gradients."""
    model, whole = network(mesh), network()
    optimizers = [ours.AdamW(m.parameters(), lr=0.01) for m in (model, whole)]
    schedulers = [torch.optim.lr_scheduler.OneCycleLR(o, 0.02, total_steps=9) for o in optimizers]

    def around():
        norm = clip_grad_norm_(model.parameters(), 0.05)
        assert norm.full_tensor() > 0.05
        for param, expected in zip(model.parameters(), whole.parameters(), strict=True):
            expected.grad = full(param.grad)

    for i in range(8):
        train(model, optimizers[0], i, i + 1, around)
        optimizers[1].step()
        for scheduler in schedulers:
            scheduler.step()
    assert_same_parameters(model, whole)


@check
def state_is_placed_as_the_parameters_and_live(mesh, folder):
    place = on(mesh, Shard(0))
    params = parameters(place)
    optimizer = ours.AdamW(params.values())
    step(params, optimizer, 0, 1, place)
    held = [(param, dict(optimizer.state[param])) for param in params.values()]
    step(params, optimizer, 1, 3, place)
    for param, entry in held:
        for name, value in entry.items():
            assert optimizer.state[param][name] is value
            assert isinstance(value, DTensor) == (name != "step")
        assert entry["exp_avg"].placements == param.placements
        assert entry["exp_avg"].shape == param.shape
    for _, entry in held:
        entry["exp_avg"].zero_()  # counts from the next step on
    before = copy.deepcopy(params)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    for param in params.values():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    for param, expected in zip(params.values(), before.values(), strict=True):
        assert_same_bits(full(param).numpy(), full(expected).numpy())


@check
def parameters_and_state_may_move(mesh, folder):
    place = on(mesh, Shard(0))
    whole, params = parameters(), parameters(place)
    optimizers = ours.AdamW(whole.values()), ours.AdamW(params.values())
    step(whole, optimizers[0], 0, 4)
    step(params, optimizers[1], 0, 2, place)
    for param in params.values():
        for tensor in (param, optimizers[1].state[param]["exp_avg"]):
            tensor._local_tensor = tensor._local_tensor.clone()  # as FSDP does it
    step(params, optimizers[1], 2, 4, place)
    assert_same(params, optimizers[1], whole, optimizers[0])


@check
def copies_go_on(mesh, folder):
    place = on(mesh, Shard(0))
    params = parameters(place)
    optimizer = ours.AdamW(params.values())
    step(params, optimizer, 0, 2, place)
    copied, copied_optimizer = copy.deepcopy((params, optimizer))
    step(params, optimizer, 2, 4, place)
    step(copied, copied_optimizer, 2, 4, place)
    whole = parameters()
    reference = ours.AdamW(whole.values())
    step(whole, reference, 0, 4)
    assert_same(params, optimizer, whole, reference)
    assert_same(copied, copied_optimizer, whole, reference)


@check
def autograd_is_told(mesh, folder):
    param = torch.nn.Parameter(on(mesh, Shard(0))(torch.ones(4)))
    optimizer = ours.SGD([param], lr=0.5)
    loss = (param * param).sum()
    param.grad = torch.ones_like(param)
    optimizer.step()
    with refused(RuntimeError, "modified by an inplace operation", optimizer):
        loss.backward()


@check
def partial_gradients_are_summed_first(mesh, folder):
    """Those of a layer norm over a sharded sequence, as torch's optimizers take them."""
    models = []
    for module in (ours, torch.optim):
        model = parallelize_module(torch.nn.LayerNorm(4), mesh, SequenceParallel(sequence_dim=0))
        optimizer = module.AdamW(model.parameters(), lr=0.01)
        train(model, optimizer, 0, 3)
        assert model.weight.grad.placements == (Partial(),)
        models.append(model)
    for param, expected in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(full(param), full(expected), rtol=1e-6, atol=1e-7)
        seen = [None, None]
        dist.all_gather_object(seen, param.to_local().detach())
        assert torch.equal(*seen)


@check
def grad_scaler(mesh, folder):
    """A step that one process finds infinite is left out in both."""
    for options in ({}, dict(fused=True)):
        model, plain = network(mesh), network(mesh)
        optimizer = ours.AdamW(model.parameters(), lr=0.01, **options)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=100)
        for i in range(5):
            for broken in (True, False) if i == 3 else (False,):
                optimizer.zero_grad()
                scaler.scale(loss_of(model, i)).backward()
                if broken and dist.get_rank() == 1:
                    with torch.no_grad():
                        model[0].weight.grad.to_local()[0, 0] = torch.inf
                scaler.step(optimizer)
                scaler.update()
        assert scaler.get_scale() == 512.0
        train(plain, ours.AdamW(plain.parameters(), lr=0.01), 0, 5)
        assert_same_parameters(model, plain)


# ---- errors


class refused:
    """The block raises this error, and changes neither parameters nor state."""

    def __init__(self, error, message, optimizer):
        self.error, self.message, self.optimizer = error, message, optimizer

    def seen(self):
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        entries = [(p, *self.optimizer.state.get(p, {}).values()) for p in params]
        return [
            torch.as_tensor(t.to_local() if isinstance(t, DTensor) else t).detach().clone()
            for entry in entries
            for t in entry
        ]

    def __enter__(self):
        self.before = self.seen()

    def __exit__(self, kind, error, _):
        assert kind is not None, f"no error; expected {self.message}"
        if not issubclass(kind, self.error):
            return False
        assert re.search(self.message, str(error)), str(error)
        for after, before in zip(self.seen(), self.before, strict=True):
            assert torch.equal(after, before)
        return True


@check
def sums_over_shards_are_refused(mesh, folder):
    place = on(mesh, Shard(0))
    whole, params = parameters(), list(parameters(place).values())
    message = r"params\[0\] is placed \(Shard\(dim=0\),\), and {} sums over"
    for name in REDUCING:
        optimizer = getattr(ours, name)(whole.values(), lr=0.1)
        with refused(
            ValueError, message.format(name.lower()).replace("params", r"group\[1\]"), optimizer
        ):
            optimizer.add_param_group({"params": params})
        assert len(optimizer.param_groups) == 1
    params = parameters(place)
    optimizer = ours.AdamW(params.values())
    step(params, optimizer, 0, 1, place)
    optimizer.param_groups[0]["clip_norm"] = 1.0
    with refused(ValueError, message.format("adamw_clip_norm"), optimizer):
        step(params, optimizer, 1, 2, place)
    del optimizer.param_groups[0]["clip_norm"]
    optimizer.param_groups[0].update(clip_norm=None, clip_value=0.5)  # of each element
    step(params, optimizer, 1, 2, place)


@check
def what_is_placed_otherwise_is_refused(mesh, folder):
    place, otherwise = on(mesh, Shard(0)), on(mesh, Replicate())
    params = parameters(place)
    optimizer = ours.AdamW(params.items())
    step(params, optimizer, 0, 1, place)
    param = params["even"]
    entry = optimizer.state[param]
    kept = entry["exp_avg"]
    for value, error, message in (
        (full(kept), TypeError, "exp_avg of even is a plain tensor; the parameter is a DTensor"),
        (otherwise(full(kept)), ValueError, r"exp_avg of even is placed \(Replicate\(\),\)"),
    ):
        entry["exp_avg"] = value
        with refused(error, message, optimizer):
            step(params, optimizer, 1, 2, place)
        snapshot = optimizer.state_dict()
        snapshot["state"] = {key: dict(held) for key, held in snapshot["state"].items()}
        entry["exp_avg"] = kept
        with refused(error, message, optimizer):
            optimizer.load_state_dict(snapshot)
    sums = DTensor.from_local(torch.ones(2, 2), mesh, [Partial()], run_check=False)
    with refused(ValueError, r"sums is placed \(Partial\(sum\),\)", optimizer):
        optimizer.add_param_group({"params": [("sums", sums)]})
    step(params, optimizer, 1, 2, place)
    whole = parameters()
    reference = ours.AdamW(whole.values())
    step(whole, reference, 0, 2)
    assert_same(params, optimizer, whole, reference)
    plain = torch.nn.Parameter(torch.ones(3))
    optimizer = ours.SGD([("plain", plain)], momentum=0.9)
    plain.grad = torch.ones(3)
    optimizer.step()
    optimizer.state[plain]["momentum_buffer"] = place(torch.ones(3))
    with refused(
        TypeError, "momentum_buffer of plain is a DTensor; the parameter is a plain", optimizer
    ):
        optimizer.step()


# ---- checkpoints


def shards_of_the_last_axis(param):
    return Shard(param.ndim - 1)


@check
def state_dicts_of_sharded_and_whole_models(mesh, folder):
    """Saved as a whole, or as shards by torch.distributed.checkpoint, and loaded where the model is
    sharded otherwise, or not at all: the next steps have the same bits."""
    model = network(mesh)
    optimizer = ours.AdamW(model.parameters(), lr=0.01)
    train(model, optimizer, 0, 3)
    parts, whole_parts = (
        get_state_dict(model, optimizer),
        get_state_dict(model, optimizer, options=FULL),
    )
    assert all(isinstance(e["exp_avg"], DTensor) for e in parts[1]["state"].values())
    assert not any(isinstance(e["exp_avg"], DTensor) for e in whole_parts[1]["state"].values())
    dcp.save(dict(zip(("model", "optimizer"), parts, strict=True)), checkpoint_id=folder / "dcp")
    others = []
    for make in (
        lambda: network(mesh),
        lambda: network(mesh, shard_placement_fn=shards_of_the_last_axis),
        network,
    ):
        for saved in ("as shards", "as a whole"):
            other = make()
            loading = ours.AdamW(other.parameters(), lr=0.5)
            if saved == "as shards":
                states = dict(
                    zip(("model", "optimizer"), get_state_dict(other, loading), strict=True)
                )
                dcp.load(states, checkpoint_id=folder / "dcp")
                set_state_dict(
                    other,
                    loading,
                    model_state_dict=states["model"],
                    optim_state_dict=states["optimizer"],
                )
            else:
                set_state_dict(
                    other,
                    loading,
                    model_state_dict=copy.deepcopy(whole_parts[0]),
                    optim_state_dict=copy.deepcopy(whole_parts[1]),
                    options=FULL,
                )
            assert loading.param_groups[0]["lr"] == 0.01
            assert {float(e["step"]) for e in loading.state.values()} == {3}
            others.append((other, loading))
    for i in range(3, 6):
        train(model, optimizer, i, i + 1)
        for other, loading in others:
            pairs = zip(other.parameters(), model.parameters(), strict=True)
            for param, theirs in pairs:
                grad = full(theirs.grad)
                param.grad = (
                    on(mesh, *param.placements)(grad) if isinstance(param, DTensor) else grad
                )
            loading.step()
    for other, _ in others:
        assert_same_parameters(other, model)


@check
def state_dicts_of_torch_s_optimizer(mesh, folder):
    """Both ways, to rounding."""
    models = {module: network(mesh) for module in (ours, torch.optim)}
    optimizers = {k: k.AdamW(m.parameters(), lr=0.01) for k, m in models.items()}
    for module, model in models.items():
        train(model, optimizers[module], 0, 3)
    snapshots = {k: get_optimizer_state_dict(m, optimizers[k]) for k, m in models.items()}
    for module, other in ((ours, torch.optim), (torch.optim, ours)):
        model = models[module]
        optimizers[module] = module.AdamW(model.parameters(), lr=0.5)
        set_optimizer_state_dict(model, optimizers[module], copy.deepcopy(snapshots[other]))
        assert optimizers[module].param_groups[0]["lr"] == 0.01
        train(model, optimizers[module], 3, 6)
    for param, expected in zip(*(m.parameters() for m in models.values()), strict=True):
        torch.testing.assert_close(full(param), full(expected), rtol=1e-5, atol=1e-6)


# ---- what shards without DTensors


@check
def zero_redundancy_optimizer(mesh, folder):
    """The bits of an optimizer that each process has whole; resumed, those of the uninterrupted
    run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of importing it
        from torch.distributed.optim import ZeroRedundancyOptimizer
    models, optimizers = [], []
    for whole in (False, True):
        model = torch.nn.parallel.DistributedDataParallel(network())
        params = model.parameters()
        optimizers.append(
            ours.AdamW(params, lr=0.01)
            if whole
            else ZeroRedundancyOptimizer(params, optimizer_class=ours.AdamW, lr=0.01)
        )
        models.append(train(model, optimizers[-1], 0, 3))
    assert_same_parameters(*models)
    optimizers[0].consolidate_state_dict(0)
    sent = [copy.deepcopy(optimizers[0].state_dict()) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(sent, 0)
    optimizers[0] = ZeroRedundancyOptimizer(
        models[0].parameters(), optimizer_class=ours.AdamW, lr=0.5
    )
    optimizers[0].load_state_dict(sent[0])
    for model, optimizer in zip(models, optimizers, strict=True):
        train(model, optimizer, 3, 6)
    assert_same_parameters(*models)


@check
def parameters_of_the_old_fsdp(mesh, folder):
    """Flat or not, as under FSDP2; the state dict of flat ones resumes. With the original
    parameters torch saves one array's values under the names of all, on the CPU."""
    expected = network(mesh)
    train(expected, ours.AdamW(expected.parameters(), lr=0.01), 0, 6)
    for original in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated
            model, other = (
                fsdp.FullyShardedDataParallel(
                    network(), use_orig_params=original, device_id=torch.device("cpu")
                )
                for _ in range(2)
            )
            optimizer = ours.AdamW(model.parameters(), lr=0.01)
            train(model, optimizer, 0, 3)
            if not original:
                saved = fsdp.FullyShardedDataParallel.optim_state_dict(model, optimizer)
                optimizer = ours.AdamW(other.parameters(), lr=0.5)
                other.load_state_dict(model.state_dict())
                optimizer.load_state_dict(
                    fsdp.FullyShardedDataParallel.optim_state_dict_to_load(other, optimizer, saved)
                )
                model = other
            train(model, optimizer, 3, 6)
            with fsdp.FullyShardedDataParallel.summon_full_params(model):
                assert_same_parameters(model.module, expected)


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "rendezvous"), 2)
    wait = datetime.timedelta(seconds=30)  # where the other process has failed
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=wait)
    mesh = init_device_mesh("cpu", (2,))
    failures = {}
    for name, function in CHECKS.items():
        try:
            function(mesh, folder)
            failures[name] = ""
        except Exception:
            failures[name] = traceback.format_exc()
    (folder / f"{rank}.json").write_text(json.dumps(failures))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
