"""Every back-end keeps the contract."""

import copy
import functools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import safetensors.torch
import torch

from neurodyn.backends import BACKENDS, config_class
from neurodyn.backends.base import CAPABILITIES, Backend
from neurodyn.backends.batch import Batch, Signal
from neurodyn.backends.layout import Layout
from neurodyn.data.responses import ResponseRule
from neurodyn.data.stimulus_code import ColumnCode, StimulusCode
from neurodyn.data.window_config import ResponseConfig
from neurodyn.nn.parts import computing, counts, knowing

FRAMES = 10
SPACES = {"traces": (6,), "movie": (11, 9)}
SMALL = {
    "atmorep": {"token": (4, 4, 4), "width": 16, "heads": 2, "layers": 2, "members": 4},
    "cst": {"patch": (4, 4), "width": 16, "heads": 2, "layers": 2, "sobolev": (1e-3, 1e-4, 1e-5), "dummies": 3},
    "lfads": {
        "likelihood": "gaussian_exp",
        "variance": 0.05,
        "factors": 4,
        "generator": 24,
        "initial": 16,
        "encoder": 24,
        "inputs": 1,
        "controller": 24,
        "dropout": 0.0,
        "samples": 4,
    },
    "factor_dynamics": {"factors": 4, "states": 16, "dropout": 0.0, "state_dropout": 0.0},
    "blind_spot": {"components": 4, "reach": 3, "channels": 4, "width": 8, "patch": 6, "stretch": 8},
    "brainlm": {"patch": 2, "width": 32, "heads": 2, "layers": 1, "feedforward": 64},
    "cebra": {"dimensions": 8, "width": 16, "layers": 0, "offset": 0.2, "temperature": 0.1, "labels": True},
    "climanet": {"patch": (2, 4, 4), "width": 16, "heads": 2, "hidden": 16, "depth": 1, "block": (3, 4, 4)},
    "convgru": {"encoder": (8,), "decoder": (8,), "context": 8, "latent_grid": (2, 2)},
    "convlstm": {"hidden": 14, "latent_grid": (2, 2)},
    "fno2d": {"width": 16, "layers": 1, "modes": (5, 5), "decoder": 32, "context": 8, "latent_grid": (2, 2)},
    "fno3d": {"width": 8, "layers": 2, "modes": (3, 3, 3), "decoder": 16, "latent_grid": (2, 2)},
    "latent_ode": {"components": 3, "encoder": 16, "dynamics": 16, "decoder": 16, "observation_noise": 0.01},
    "autoformer": {"width": 16, "feedforward": 32},
    "crossformer": {"width": 16, "heads": 2, "feedforward": 32, "segment": 2, "merge": 2, "routers": 3}
    | {"linear": "cell", "level": "mean"},
    "dlinear": {"individual": True},
    "informer": {"width": 16, "heads": 2, "feedforward": 32, "factor": 1},
    "nlinear": {"individual": True},
    "patchtst": {"width": 16, "heads": 2, "feedforward": 32, "head": "flat"},
    "lstm": {"hidden": 24},
    "lstm_response": {"hidden": 16, "layers": 1},
    "autoformer_classifier": {"width": 16, "feedforward": 32},
    "crossformer_classifier": {"width": 16, "heads": 2, "feedforward": 32, "segment": 2, "merge": 2, "routers": 3},
    "informer_classifier": {"width": 16, "heads": 2, "feedforward": 32, "factor": 1},
    "quantformer_classifier": {"patch": 2, "width": 16, "heads": 2, "layers": 1, "codes": 16},
    "quantformer": {"patch": 2, "width": 16, "heads": 2, "layers": 1, "codes": 16, "trace_weight": 1.0, "across": True},
    "transformer": {"patch": (4, 4), "width": 16, "heads": 2, "layers": 2},
    "vit3d": {"patch": (4, 4), "width": 16, "heads": 2, "layers": 2, "tubelet": 3},
    "vivit": {"patch": (4, 4), "width": 16, "heads": 2, "spatial_layers": 1, "temporal_layers": 1},
    "calfads": {"tau": 0.3, "gain": 0.5, "inputs": 1, "samples": 4, "stacked": True, "generator": 24, "initial": 16},
}


HARDER = {
    "convgru": (120, 2e-2),
    "convlstm": (120, 2e-2),
    "dlinear": (600, 3e-2),
    "fno2d": (120, 2e-2),
    "brainlm": (300, 5e-3),
    "nlinear": (600, 3e-2),
    "latent_ode": (120, 3e-2),
    "quantformer": (300, 1e-2),
    "quantformer_classifier": (500, 5e-3),
    "lstm_response": (300, 2e-2),
    "logistic_response": (600, 5e-2),
}  # steps and learning rate; many steps where little moves, a high rate where a step is dear
ACROSS_WINDOWS = {  # stages whose loss mixes the windows of a batch, so that parts of it cannot add up to the whole
    ("cebra", "main"): "frames are told from those of other windows",
    ("transformer", "main"): "tokens are swapped with those of other windows",
    ("autoformer", "main"): "lags are chosen by the correlation over all windows of a batch",
    ("autoformer_classifier", "main"): "lags are chosen by the correlation over all windows of a batch",
    ("quantformer", "quantizer"): "a codebook is fitted to the traces that are drawn",
    ("quantformer_classifier", "quantizer"): "a codebook is fitted to the traces that are drawn",
}
STARTS_FITTED = {"factor_dynamics"}  # `prepare` leaves nothing to learn in windows like those it has seen
PIXELS_ARE_CELLS = {"forecast", "classify", "spikes"}  # who can do these learns from a movie what it learns from traces
HORIZON = 4
AHEAD = 3
RULE = ResponseRule(config=ResponseConfig.model_validate({}))
CODE = StimulusCode(
    columns=(ColumnCode(name="image", kind="name", values=("a", "b", "c")),), conditions=(("a",), ("b",), ("c",))
)


def brain(space: tuple[int, ...]) -> np.ndarray:
    mask = np.ones(space, dtype=bool)
    if len(space) == 2:
        mask[:4, :4] = False
        mask[-1] = False
    return mask


def windows(space: tuple[int, ...], count: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(FRAMES) / FRAMES
    phase = rng.uniform(0, 6.28, (count, 1, 1))
    waves = np.sin(2 * np.pi * t[None, :, None] * rng.uniform(0.5, 1.5, (count, 1, 1)) + phase)
    pattern = np.random.default_rng(7).normal(size=int(np.prod(space)))  # of the recording, whatever its windows
    noise = 0.05 * rng.normal(size=(count, FRAMES, pattern.size))
    return (2 + waves * pattern + noise).reshape(count, FRAMES, *space).astype(np.float32)


def make_batch(space: tuple[int, ...], count: int = 8, seed: int = 0) -> Batch:
    x = torch.from_numpy(windows(space, count, seed))
    valid = torch.from_numpy(brain(space)).expand(x.shape).clone()
    valid[0, 3, ..., 2] = False
    t = (torch.arange(FRAMES) / 10.0).expand(count, -1)
    session = torch.zeros(count, dtype=torch.long)
    condition = torch.arange(count) % len(CODE.conditions)
    stimulus = torch.eye(CODE.size)[condition]
    responses = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, (count, *space)).astype(np.float32))
    responses[0, ..., 1] = torch.nan
    told = (session, None, stimulus, condition, responses, None, make_ahead(space, count, seed))
    return Batch(x.where(valid, 0.0), t, valid.clone(), valid, *told)


def make_ahead(space: tuple[int, ...], count: int, seed: int) -> Signal:
    after = torch.from_numpy(windows(space, count, seed + 100))[:, :AHEAD]
    valid = torch.from_numpy(brain(space)).expand(after.shape).clone()
    return Signal(after.where(valid, 0.0), torch.zeros_like(valid), valid)


def build(name: str, space: tuple[int, ...], seed: int = 0) -> Backend:
    """A fresh copy of the back-end made from that seed; preparing one may take seconds, and many tests want it."""
    made = copy.deepcopy(_built(name, space, seed))
    torch.manual_seed(seed)
    return made


@functools.cache
def _built(name: str, space: tuple[int, ...], seed: int) -> Backend:
    kind = BACKENDS.get(name)
    torch.manual_seed(seed)
    backend = kind(kind.Config(**SMALL.get(name, {})), layout(kind, space))
    data = windows(space, 40, seed=1)
    data[:, :, ~brain(space)] = np.nan
    backend.prepare([data[:15], data[15:]])
    backend.prepare_batches([make_batch(space, 20, seed=1), make_batch(space, 20, seed=2)])
    return backend


def layout(kind: type[Backend], space: tuple[int, ...], *sessions: tuple[int, ...] | tuple[str, ...]) -> Layout:
    ahead = (
        {"horizon": HORIZON, "code": CODE, "rule": RULE}
        if {"forecast", "classify"} & kind.Config.capabilities
        else {"ahead": AHEAD, "code": CODE}
    )
    return Layout(FRAMES, space, 10.0, brain(space), *sessions, **ahead)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def step(backend: Backend, batch: Batch, steps: int, lr: float = 3e-3, enough: float = 0.0) -> list[float]:
    """Return the losses of at most so many steps; it ends where one is below `enough` of the first."""
    optimizer, losses = torch.optim.Adam([p for p in backend.parameters() if p.requires_grad], lr=lr), []
    for _ in range(steps):
        loss = torch.stack(list(backend.loss(batch, generator()).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < enough * losses[0]:
            break
    return losses


def values(parts: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in parts.items()}


def reconstruction_error(backend: Backend, batch: Batch) -> float:
    with torch.no_grad():
        error = (backend.eval()(batch).mean - batch.target)[batch.valid]
    backend.train()
    return error.square().mean().item()


def trained(name: str, space: tuple[int, ...]) -> Backend:
    """A fresh copy of a back-end away from its special initial weights."""
    return copy.deepcopy(_trained(name, space))


@functools.lru_cache(maxsize=2)  # the tests of one case follow each other
def _trained(name: str, space: tuple[int, ...]) -> Backend:
    backend = build(name, space)
    for stage in backend.stages():
        backend.begin(stage, [make_batch(space)])
        step(backend, make_batch(space), 3)
    return backend.eval()


@pytest.fixture(
    scope="module", params=[(name, kind) for name in BACKENDS.names() for kind in SPACES], ids=lambda p: "-".join(p)
)
def case(request) -> tuple[str, tuple[int, ...]]:
    return request.param[0], SPACES[request.param[1]]


def test_declared_capabilities_and_citation(case):
    kind = BACKENDS.get(case[0])
    assert kind.Config.capabilities <= CAPABILITIES
    assert kind.citation
    assert all(field.description for field in kind.Config.model_fields.values())
    assert "cosmoothing" not in kind.Config.capabilities or {"reconstruct", "latents"} <= kind.Config.capabilities


@pytest.mark.parametrize("name", [n for n in BACKENDS.names() if "cosmoothing" in config_class(n).capabilities])
def test_what_is_told_of_hidden_cells_comes_from_the_others(name):
    space = SPACES["traces"]
    backend, batch = trained(name, space), make_batch(space)
    hidden = batch.visible.clone()
    hidden[:, :, 1] = False
    shown = replace(batch, visible=hidden)
    spoiled = replace(shown, x=batch.x.where(hidden, 1e3))
    torch.testing.assert_close(backend(spoiled).mean, backend(shown).mean, rtol=0, atol=0)
    others = torch.arange(batch.x.shape[2]) != 1
    moved = replace(shown, x=batch.x + 0.5 * (others & batch.valid))
    assert not torch.allclose(backend(moved).mean[:, :, 1], backend(shown).mean[:, :, 1], atol=1e-4)


def test_prediction_has_the_shapes_and_what_was_promised(case):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    prediction = backend(batch, attention="attention" in backend.capabilities)
    assert prediction.mean.shape == batch.x.shape
    assert torch.isfinite(prediction.mean).all()
    for field, capability in {
        "latents": "latents",
        "spikes": "spikes",
        "inputs": "inputs",
        "logits": "classify",
        "std": "uncertainty",
    }.items():
        assert (getattr(prediction, field) is not None) == (capability in backend.capabilities)
    if prediction.latents is not None:
        assert prediction.latents.shape[:2] == (8, FRAMES)
        assert torch.isfinite(prediction.latents).all()
    if "attention" in backend.capabilities:
        keys = backend.attention_grid[0] * backend.attention_grid[1]
        assert prediction.attention.shape == (8, keys, FRAMES, keys)
    else:
        assert prediction.attention is None


def test_models_of_continuous_time_answer_between_frames(case):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    if "continuous_time" not in backend.capabilities:
        return
    inner = batch.t[:, :-1] + 0.03
    asked = backend.at(batch, inner)
    assert asked.shape == (8, FRAMES - 1, *space)
    assert torch.isfinite(asked).all()
    again = backend.at(batch, inner[:, [4]])
    if getattr(backend.config, "query", None) != "joint":
        torch.testing.assert_close(again, asked[:, [4]], rtol=1e-4, atol=1e-4)


def test_loss_parts_are_finite_scalars(case):
    name, space = case
    parts = build(name, space).loss(make_batch(space), generator())
    assert parts
    for part, value in parts.items():
        assert value.shape == ()
        assert torch.isfinite(value)
        assert value >= 0 or part == "reconstruction"  # minus the log of a density, which may exceed 1


def test_the_same_draws_give_the_same_loss(case):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    first, again = (values(backend.loss(batch, generator())) for _ in range(2))
    assert first == again


def test_a_gradient_reaches_every_trainable_parameter(case):
    name, space = case
    backend = build(name, space)
    if not backend.stages():
        assert not list(backend.parameters())
        return
    for stage in backend.stages():
        backend.begin(stage, [make_batch(space)])
        step(backend, make_batch(space), 2)
        backend.zero_grad()
        torch.stack(list(backend.loss(make_batch(space), generator()).values())).sum().backward()
        trained_ones = {name: p for name, p in backend.named_parameters() if p.requires_grad}
        for parameter_name, parameter in trained_ones.items():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name


def test_invalid_entries_change_neither_loss_nor_prediction(case):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    spoiled = replace(batch, x=batch.x.where(batch.valid, 1e6 * torch.randn(batch.x.shape, generator=generator())))
    torch.testing.assert_close(backend(spoiled).mean, backend(batch).mean, rtol=0, atol=0)
    assert values(backend.loss(spoiled, generator())) == values(backend.loss(batch, generator()))


def test_hidden_entries_do_not_change_the_prediction(case):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    visible = batch.visible.clone()
    visible[:, 4:6] = False
    visible[1, 2, ..., 1] = False
    hidden = replace(batch, visible=visible)
    spoiled = replace(hidden, x=batch.x.where(visible, -1e6))
    blind = backend(hidden).mean
    torch.testing.assert_close(backend(spoiled).mean, blind, rtol=0, atol=0)
    assert not torch.allclose(blind, backend(batch).mean)


def test_the_order_of_windows_does_not_matter(case):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    shuffled = batch.rows(order)
    torch.testing.assert_close(backend(shuffled).mean, backend(batch).mean[order], rtol=1e-5, atol=1e-5)


def test_the_same_seed_gives_the_same_weights(case):
    name, space = case
    first, again = (_built.__wrapped__(name, space, 0).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_it_overfits_eight_windows(case):
    name, space = case
    backend = build(name, space)
    learns_on = "traces" if PIXELS_ARE_CELLS & backend.capabilities else "movie"
    if not backend.stages() or space != SPACES[learns_on]:
        return
    batch = make_batch(space)
    if name in STARTS_FITTED:
        inside = torch.from_numpy(brain(space)).flatten().nonzero()[:, 0]
        mixed = batch.x.flatten(2).index_copy(2, inside, batch.x.flatten(2)[..., inside.roll(1)])
        batch = replace(batch, x=mixed.unflatten(2, space))
    for stage in backend.stages():
        backend.begin(stage, [batch])
        density = "reconstruction" in backend.loss(batch, generator())
        before = reconstruction_error(backend, batch)
        losses = step(backend, batch, *HARDER.get(name, (120, 1e-2)), enough=0.3)
        assert losses[-1] < 0.3 * losses[0]
        if density:  # whose loss has no zero to fall towards: what it predicts must come closer, too
            for _ in range(6):
                step(backend, batch, 20, lr=1e-2)
                if reconstruction_error(backend, batch) < 0.3 * before:
                    break
            assert reconstruction_error(backend, batch) < 0.3 * before


def test_the_state_survives_safetensors(case, tmp_path):
    name, space = case
    backend, batch = trained(name, space), make_batch(space)
    safetensors.torch.save_file(backend.state_dict(), tmp_path / "model.safetensors")
    fresh = type(backend)(backend.config, backend.layout)
    fresh.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    torch.testing.assert_close(fresh.eval()(batch).mean, backend(batch).mean, rtol=0, atol=0)


def test_sessions_with_fewer_cells_keep_what_is_theirs(case):
    """Entries beyond a session's cells change nothing, and the session decides what is predicted."""
    name, space = case
    kind = BACKENDS.get(name)
    if "sessions" not in kind.Config.capabilities or len(space) > 1:
        return
    cells = (space[0], space[0] - 2)
    torch.manual_seed(0)
    backend = kind(kind.Config(**SMALL.get(name, {})), layout(kind, space, cells, ("one", "two")))
    data = windows(space, 40, seed=1)
    backend.prepare_sessions([(0, data[:20]), (1, data[20:, :, : cells[1]])])
    session = torch.tensor([0, 1] * 4)
    own = (torch.arange(space[0]) < torch.tensor(cells)[session][:, None, None]).expand(-1, FRAMES, -1)
    valid = make_batch(space).valid & own
    batch = replace(make_batch(space), session=session, valid=valid, visible=valid)
    for stage in backend.stages():
        backend.begin(stage, [batch])
        step(backend, batch, 3)
    backend.eval()
    spoiled = replace(batch, x=batch.x.where(own, 1e6))
    torch.testing.assert_close(backend(spoiled).mean[own], backend(batch).mean[own], rtol=0, atol=0)
    assert values(backend.loss(spoiled, generator())) == values(backend.loss(batch, generator()))
    swapped = replace(batch, session=1 - session)
    both = torch.arange(space[0]) < cells[1]
    answers = [backend(one) for one in (swapped, batch)]
    said = [one.mean if one.logits is None else one.logits for one in answers]
    assert not torch.allclose(said[0][..., both], said[1][..., both])


def without_dropout(backend: Backend) -> Backend:
    for module in backend.modules():
        for name in ("p", "rate", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return backend


def gradients(backend: Backend) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in backend.named_parameters() if p.grad is not None}


def backwards(backend: Backend, batch: Batch, share: float = 1.0) -> dict[str, float]:
    parts = backend.loss(batch, generator())
    (share * torch.stack(list(parts.values())).sum()).backward()
    return {name: share * value.item() for name, value in parts.items()}


def in_parts(backend: Backend, batch: Batch, *places: list[int]) -> dict[str, float]:
    """Compute parts of a batch one after another; return the sums of their losses."""
    pieces = [(rows := torch.tensor(place), batch.rows(rows)) for place in places]
    asked = [counts(rows, 8, partial(backend.loss, piece, generator())) for rows, piece in pieces]
    totals, found = [sum(each) for each in zip(*asked, strict=True)], []
    for rows, piece in pieces:
        with computing(part := knowing(rows, 8, totals)):
            found.append(backwards(backend, piece, part.share))
    return {name: sum(parts[name] for parts in found) for name in found[0]}


def test_unequal_parts_of_a_batch_add_up_to_its_loss_and_gradient(case):
    """What several processes or several turns compute is what one would have, masks and noise included."""
    name, space = case
    for stage in build(name, space).stages():
        if (name, stage) in ACROSS_WINDOWS:
            continue
        backend, batch = without_dropout(trained(name, space)).train(), make_batch(space)
        backend.begin(stage, [batch])
        backend.zero_grad()
        whole, expected = backwards(backend, batch), gradients(backend)
        backend.zero_grad()
        parts, found = in_parts(backend, batch, [0, 3, 6], [1, 2, 4, 5, 7]), gradients(backend)
        assert parts == pytest.approx(whole, rel=1e-5, abs=1e-7)
        assert found.keys() == expected.keys()
        largest = float(max(gradient.abs().max() for gradient in expected.values()))
        for key, gradient in expected.items():
            torch.testing.assert_close(found[key], gradient, rtol=1e-4, atol=1e-5 * largest, msg=key)
