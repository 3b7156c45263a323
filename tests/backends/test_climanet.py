"""What makes ClimaNet ClimaNet: gaps, dates and places, the base it starts from, what it says of its errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from neurodyn.backends.batch import Batch
from neurodyn.backends.climanet import ClimaNet, ClimaNetConfig
from neurodyn.backends.layout import Layout
from neurodyn.core.config import find_preset, load_yaml
from neurodyn.core.errors import ConfigError
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import hide_blocks
from tests.backends.baselines import generator, parameters

SPACE, FRAMES = (7, 14), 6  # padded to 2 x 5 patches of 4 x 3 pixels
SMALL = {"patch": (2, 4, 3), "width": 16, "heads": 2, "hidden": 16, "depth": 1, "block": (2, 3, 3), "components": 3}
BASES = ["interpolation", "components", "both"]
HEADS = [{"base": base} for base in BASES] + [{"head": "mean", "parts": 2}]


def brain() -> np.ndarray:
    mask = np.ones(SPACE, dtype=bool)
    mask[:4, :3] = False  # a whole patch
    mask[-1] = False
    return mask


def make(*, perturb: float = 0.1, space: tuple[int, ...] = SPACE, **config) -> ClimaNet:
    torch.manual_seed(0)
    inside = brain() if space == SPACE else np.ones(space, bool)
    model = ClimaNet(ClimaNetConfig(**(SMALL | config)), Layout(FRAMES, space, 10.0, inside))
    data = np.random.default_rng(0).normal(3, 2, (20, FRAMES, *space)).astype(np.float32)
    data[:, :, ~inside] = np.nan
    model.prepare([data])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += perturb * torch.randn(parameter.shape)
    return model.eval()


def make_batch(space: tuple[int, ...] = SPACE, count: int = 4, share: float = 0.3) -> Batch:
    source = generator(1)
    x = 3 + 2 * torch.randn(count, FRAMES, *space, generator=source)
    inside = torch.from_numpy(brain()) if space == SPACE else torch.ones(space, dtype=torch.bool)
    valid = inside.expand(x.shape).clone()
    valid[0, 2, ..., 5] = False
    visible = valid & (torch.rand(x.shape, generator=source) > share)
    visible[2, ..., 4] = False
    t = (torch.arange(FRAMES) / 10.0).expand(count, -1) + 0.04 * torch.rand(count, FRAMES, generator=source)
    return Batch(x.where(valid, 0.0), t, visible, valid, torch.zeros(count, dtype=torch.long))


def z_scored(model: ClimaNet, values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return model.frames.standardised(values, where)


def naive_means(values: torch.Tensor, where: torch.Tensor, parts: int) -> torch.Tensor:
    """0 where there is nothing to average."""
    out = torch.zeros(len(values), parts, *values.shape[2:])
    length = values.shape[1] // parts
    for index in np.ndindex(*out.shape):
        b, m, *place = index
        run = (b, slice(m * length, (m + 1) * length), *place)
        if where[run].any():
            out[index] = values[run][where[run]].mean()
    return out


@pytest.mark.parametrize("config", HEADS)
def test_a_patch_changes_its_own_tokens_alone_before_they_mix(config):
    model = make(patch=(1, 4, 3), **(config | {"parts": 2}))
    channels = list(torch.randn(2 if model.pooling else 2 + len(model._bases(model._given(make_batch()))), 4, 6, 7, 14))
    t = make_batch().t
    before = model._encoded(channels, t)
    assert before.shape == (4, 2, 3, 9, 16)  # the patch outside the brain is left out
    channels[0] = channels[0].clone()
    channels[0][1, :, 4:, 9:12] += 1
    differs = (model._encoded(channels, t) != before).any(-1)
    expected = torch.zeros_like(differs)
    expected[1, :, :, 7] = True
    assert torch.equal(differs, expected)
    channels[0] = channels[0].clone()
    channels[0][1, :, 4:, 9:12] -= 1
    channels[1] = channels[1].clone()
    channels[1][2, 4] += 1
    differs = ((model._encoded(channels, t) - before).abs() > 1e-4).any(-1)
    expected = torch.zeros_like(differs)
    expected[2, 1, 1] = True  # second part, second frame
    assert torch.equal(differs, expected)


@pytest.mark.parametrize("head", ["frames", "mean"])
def test_decoded_tokens_lie_where_their_patches_are(head):
    model = make(head=head, parts=2, patch=(2, 4, 3), overlap=0)
    model.decoder.refine = torch.nn.Identity()
    tokens = torch.randn(1, 4 if head == "frames" else 2, 9, 16)  # parts of three frames are padded to four
    changed = tokens.clone()
    changed[0, 1, 7] += 1
    differs = ((model._decoded(changed) - model._decoded(tokens)).abs() > 1e-5)[0].any(0)
    expected = torch.zeros(6 if head == "frames" else 2, *SPACE, dtype=torch.bool)
    expected[2 if head == "frames" else 1, 4:, 9:12] = (
        True  # the third frame, whose step has a padded fourth, or the second part
    )
    assert torch.equal(differs, expected)


@pytest.mark.parametrize("space", [SPACE, (7,)])
@pytest.mark.parametrize("config", HEADS)
def test_windows_of_which_nothing_is_known_stay_finite(config, space):
    model, batch = make(space=space, **config).train(), make_batch(space)
    nothing = torch.zeros_like(batch.valid)
    for gone in (replace(batch, visible=nothing), replace(batch, visible=nothing, valid=nothing)):
        model.zero_grad()
        prediction = model(gone)
        assert torch.isfinite(prediction.mean).all() and (prediction.std >= 0).all()
        parts = model.loss(gone, generator())
        sum(parts.values()).backward()
        assert all(torch.isfinite(part) for part in parts.values())
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("config", HEADS)
def test_land_never_leaks(config):
    model, batch = make(**config), make_batch()
    outside = ~torch.from_numpy(brain())
    careless = replace(batch, visible=batch.visible | outside, valid=batch.valid | outside)
    x = batch.x.clone()
    x[..., outside] = 1e5
    spoiled = replace(careless, x=x)
    assert torch.equal(model(spoiled).mean, model(batch).mean)
    for name, value in model.loss(batch, generator()).items():
        assert model.loss(spoiled, generator())[name] == value
    given = model._given(spoiled)
    assert not given.seen[..., outside].any() and (given.values[..., outside] == 0).all()
    assert (model(spoiled).mean[..., outside] == 0).all() and (model(spoiled).std[..., outside] == 0).all()


@pytest.mark.parametrize("config", HEADS)
def test_hidden_and_invalid_values_change_nothing(config):
    model, batch = make(**config), make_batch()
    spoiled = replace(batch, x=batch.x.where(batch.visible, torch.nan))
    assert torch.equal(model(spoiled).mean, model(batch).mean)
    spoiled = replace(batch, x=batch.x.where(batch.valid, 1e6))
    assert model.loss(spoiled, generator()) == model.loss(batch, generator())
    unseen = replace(batch, visible=batch.visible & (torch.arange(14) != 9))
    assert not torch.allclose(model(unseen).mean, model(batch).mean)


def test_it_starts_at_interpolation():
    model, batch = make(perturb=0.0), make_batch()
    expected = interpolate(batch.x, batch.t, batch.visible, batch.t)
    known = batch.visible.any(1, keepdim=True).expand_as(expected)
    mean = model(batch).mean
    torch.testing.assert_close(mean[known], expected[known], rtol=1e-5, atol=1e-5)
    never = batch.valid & ~known
    assert torch.equal(mean[never], model.frames.restored(torch.zeros_like(expected))[never])  # the training mean


def test_it_starts_at_the_components_or_half_way():
    batch = make_batch()
    linear, low, both = (make(perturb=0.0, base=base) for base in BASES)
    inside = torch.from_numpy(brain())
    z, known = z_scored(low, batch.x, batch.visible)[..., inside], batch.visible[..., inside]
    assert low.components.axes.abs().sum() > 0
    expected = torch.zeros_like(batch.x)
    expected[..., inside] = low.components(z, batch.t, known, batch.t)
    torch.testing.assert_close(low(batch).mean, low.frames.restored(expected), rtol=1e-5, atol=1e-5)
    half = (linear(batch).mean + low(batch).mean) / 2
    torch.testing.assert_close(both(batch).mean, half, rtol=1e-5, atol=1e-5)


def test_seen_and_hidden_entries_have_values_and_weights_of_their_own():
    model, batch = make(perturb=0.0), make_batch()
    seen = batch.visible
    base = z_scored(model, model(batch).mean.detach(), batch.valid)
    with torch.no_grad():
        model.decoder.out.bias.copy_(torch.tensor([1.0, 0.5, 2.0, -1.0]).repeat_interleave(2))  # two frames each
    expected = torch.where(seen, 1 + 1.5 * base, torch.tensor(2.0))
    found = z_scored(model, model(batch).mean, batch.valid)
    torch.testing.assert_close(found, expected.where(batch.valid, 0.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_published_head_starts_at_the_mean_of_what_is_seen(parts):
    model, batch = make(perturb=0.0, head="mean", parts=parts), make_batch()
    means = naive_means(z_scored(model, batch.x, batch.visible), batch.visible, parts)
    expected = model.frames.restored(means.repeat_interleave(FRAMES // parts, 1))
    torch.testing.assert_close(model(batch).mean, expected, rtol=1e-5, atol=1e-5)


def test_a_constant_that_is_all_seen_stays():
    model, batch = make(perturb=0.0, head="mean", parts=2, hide=(0, 0)), make_batch()
    valid = torch.from_numpy(brain()).expand(batch.x.shape)
    constant = torch.linspace(1, 5, 14).expand(batch.x.shape).where(valid, 0.0)
    batch = replace(batch, x=constant, visible=valid, valid=valid)
    torch.testing.assert_close(model(batch).mean, constant)
    parts = model.loss(batch, generator())
    assert sum(parts.values()).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("error", ["squared", "absolute"])
@pytest.mark.parametrize("base", BASES)
def test_the_loss_of_frames_by_hand(base, error):
    model, batch = make(base=base, error=error, visible_weight=0.5), make_batch()
    hidden = ~model._partly(model._given(replace(batch, visible=batch.valid)), generator(4)).seen
    seen = batch.visible & ~hidden
    gap = z_scored(model, model(replace(batch, visible=seen)).mean - batch.x, batch.valid)
    gap = gap - z_scored(model, torch.zeros_like(batch.x), batch.valid)  # the mean cancels
    power = 1 if error == "absolute" else 2
    parts = model.loss(batch, generator(4))
    assert set(parts) == {"hidden", "visible"}
    for name, where, weight in (("hidden", batch.valid & ~seen, 1.0), ("visible", seen, 0.5)):
        expected = weight * (gap[where].abs() ** power).mean().item()
        assert parts[name].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_loss_of_means_by_hand():
    model, batch = make(head="mean", parts=2, error="absolute", perturb=0.0), make_batch(share=0.0)
    seen = model._partly(model._given(batch), generator(4)).seen
    z = z_scored(model, batch.x, batch.valid)
    gap = naive_means(z, batch.valid, 2) - naive_means(z, seen, 2)
    some, whole = batch.valid.unflatten(1, (2, 3)).any(2), (seen | ~batch.valid).unflatten(1, (2, 3)).all(2)
    parts = model.loss(batch, generator(4))
    assert parts["hidden"].item() == pytest.approx(gap[some & ~whole].abs().mean().item(), rel=1e-4)
    assert parts["visible"].item() == pytest.approx(0, abs=1e-6)


def test_targets_of_their_own_count_in_the_loss():
    batch = make_batch()
    clean = replace(batch, targets=batch.x + 2 * batch.valid)
    for config in HEADS:
        model = make(**config)
        assert model.loss(clean, generator())["visible"] != model.loss(batch, generator())["visible"]
        assert torch.equal(model(clean).mean, model(batch).mean)


def test_what_training_hides():
    batch = make_batch(count=200, share=0.0)
    given = make()._given(batch)

    def hidden(**config):
        return (given.seen & ~make(**config)._partly(given, generator(2)).seen)[..., torch.from_numpy(brain())]

    assert not hidden(hide=(0, 0), hide_frames=0).any()
    blocks = hidden(hide=(0.2, 0.2), hide_frames=0)
    assert blocks.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert not blocks.all(-1).any()
    frames = hidden(hide=(0, 0), hide_frames=2, frame_windows=0.5)
    whole = frames.sum(-1) > frames.shape[-1] - 10  # all but what was invalid
    assert set(whole.sum(1).tolist()) == {0, 1, 2} and not whole[:, [0, -1]].any()
    assert whole.any(1).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(hidden(), hidden())


@pytest.mark.parametrize("config", [{}, {"head": "mean", "parts": 2}])
def test_the_spread_is_the_root_mean_square_error_of_hidden_and_of_visible_entries(config, monkeypatch):
    model, batch = make(**config), make_batch(count=64)
    source = np.random.default_rng(0)
    size = torch.from_numpy(source.uniform(1, 2, SPACE)).float()
    valid = batch.valid & (torch.arange(14) != 9)
    batch = replace(batch, valid=valid, visible=batch.visible & valid)
    target = z_scored(model, batch.x, valid)

    def estimate(given):
        return target + torch.where(given.seen, 0.5, 3.0) * size, None

    monkeypatch.setattr(model, "_estimate", estimate)
    monkeypatch.setattr(model, "_every_frame", lambda maps: maps)
    assert (model.errors == 1).all()
    model.calibrate([batch], generator())
    monkeypatch.undo()
    std = model(batch).std
    scale = model.frames.restored(torch.ones(1, 1, *SPACE)) - model.frames.restored(torch.zeros(1, 1, *SPACE))
    known = (torch.arange(14) != 9) & torch.from_numpy(brain())
    expected = torch.where(batch.visible, 0.5 * size, 3.0 * size) * scale
    torch.testing.assert_close(std[..., known], expected[..., known], rtol=1e-4, atol=1e-4)
    mean = (3 * size[known].mean() * scale[0, 0, :-1, 9]).expand(64, FRAMES, -1)  # of an entry that is never known
    torch.testing.assert_close(std[..., :-1, 9], mean, rtol=1e-4, atol=1e-4)


def test_calibration_measures_what_training_would():
    model, batch = make(), make_batch(count=32)
    model.calibrate([batch, replace(batch, x=batch.x + 1.0 * batch.valid)], generator(3))
    source, total = generator(3), []
    for x in (batch.x, batch.x + 1.0 * batch.valid):
        parts = model.loss(replace(batch, x=x), source)
        total.append(torch.stack(list(parts.values())))
    inside = torch.from_numpy(brain())
    measured = model.errors[:, inside].square().mean(1)
    torch.testing.assert_close(measured, torch.stack(total).mean(0), rtol=0.05, atol=0.0)


def test_nothing_to_calibrate_on_leaves_the_unit():
    model, batch = make(), make_batch()
    nothing = torch.zeros_like(batch.valid)
    model.calibrate([replace(batch, valid=nothing, visible=nothing)], generator())
    assert (model.errors == 1).all()


@pytest.mark.parametrize("config", HEADS)
def test_checkpoints_change_no_number(config):
    batch, found = make_batch(), []
    for keep in (False, True):
        model = make(checkpoint=keep, **config).train()
        loss = sum(model.loss(batch, generator()).values())
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in model.parameters())])
    for plain, kept in zip(*found, strict=True):
        torch.testing.assert_close(plain, kept, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("config", HEADS)
def test_a_gradient_reaches_every_parameter(config):
    model = make(**config).train()
    sum(model.loss(make_batch(), generator()).values()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_the_same_seed_gives_the_same_weights():
    first, again = (make(perturb=0.0).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_latents_are_those_of_a_frames_token():
    batch = make_batch()
    latents = make(patch=(2, 4, 3), parts=2)(batch).latents  # parts of three frames: tokens of two frames, and of one
    assert latents.shape == (4, FRAMES, 16)
    assert torch.equal(latents[:, 0], latents[:, 1]) and not torch.equal(latents[:, 1], latents[:, 2])
    assert not torch.equal(latents[:, 2], latents[:, 3])
    latents = make(head="mean", parts=2)(batch).latents
    assert torch.equal(latents[:, 0], latents[:, 2]) and not torch.equal(latents[:, 2], latents[:, 3])


def test_dates_follow_the_clock_and_tell_frame_from_part():
    model = make(patch=(1, 4, 3), parts=3)
    t = torch.arange(FRAMES)[None] / 10.0
    dates = model._dates(t)
    assert dates.shape == (1, 3, 2, 16)
    assert torch.pdist(dates.flatten(0, 2)).min() > 0.1
    assert not torch.allclose(model._dates(t * 1.3), dates, atol=1e-2)
    batch = make_batch()
    later = replace(batch, t=batch.t + 5.0)
    torch.testing.assert_close(model(later).mean, model(batch).mean, rtol=1e-3, atol=1e-3)


def test_bad_configurations_are_refused():
    with pytest.raises(ValidationError, match="divide"):
        ClimaNetConfig(width=20, heads=8)
    with pytest.raises(ValidationError, match="shares"):
        ClimaNetConfig(hide=(0.5, 0.1))
    with pytest.raises(ConfigError, match="parts"):
        make(parts=4)


def test_the_published_network_has_its_number_of_parameters():
    """Module by module as counted at the head of the published repository, where the modules are the same.

    It has 2.19 million with a module for the place on the globe (61 thousand) and one for the month of the year
    (12 × 128), which recordings have no use for. Its last score has a bias, without effect; ours reads the observed share.
    """
    values = load_yaml(find_preset("model", "climanet-published")).values["model"]
    layout = Layout(20, (40, 40), 10.0, np.ones((40, 40), bool))
    model = ClimaNet(ClimaNetConfig(**values), layout)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert count["encoder"] == 4_480
    assert count["pooling"] + count["temporal"] == 215_169 + 128 - 1
    assert count["pooling"] + count["temporal"] + 12 * 128 == pytest.approx(217_000, abs=500)
    assert count["spatial"] == 396_544
    assert count["decoder"] == 1_508_609
    total = parameters("climanet", layout, values)
    assert total == 4_480 + 215_296 + 396_544 + 1_508_609
    assert total + 61_000 + 12 * 128 == pytest.approx(2_190_000, abs=5_000)


def travelling_waves(count: int, seed: int) -> torch.Tensor:
    """Windows of three waves of one recording, each going its way at its speed, with noise."""
    source = torch.Generator().manual_seed(seed)
    t, row, column = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), torch.arange(12.0), indexing="ij")
    phase, size = 6.28 * torch.rand(count, 3, generator=source), torch.randn(count, 3, generator=source)
    waves = torch.stack([0.5 * row + 0.9 * t, 0.4 * column - 1.1 * t, 0.3 * (row + column) + 0.8 * t])
    x = (size[:, :, None, None, None] * torch.cos(waves + phase[:, :, None, None, None])).sum(1)
    return x + 0.1 * torch.randn(x.shape, generator=source)


def test_it_learns_to_fill_blocks_in_better_than_interpolation():
    torch.manual_seed(0)
    inside = np.ones((12, 12), bool)
    config = ClimaNetConfig(patch=(2, 4, 4), width=32, hidden=16, depth=1, block=(4, 4, 4), hide_frames=0)
    model, data = ClimaNet(config, Layout(8, (12, 12), 10.0, inside)), travelling_waves(256, 1)
    model.prepare([data.numpy()])
    optimizer, source = torch.optim.AdamW(model.parameters(), lr=4e-3), generator()
    everything = torch.ones(1, 8, 12, 12, dtype=torch.bool)
    t = torch.arange(8)[None] / 10.0

    def batch(x):
        valid = everything.expand(x.shape)
        return Batch(x, t.expand(len(x), -1), valid, valid, torch.zeros(len(x), dtype=torch.long))

    for _ in range(120):
        chosen = data[torch.randint(len(data), (16,), generator=source)]
        optimizer.zero_grad()
        sum(model.loss(batch(chosen), source).values()).backward()
        optimizer.step()
    test = batch(travelling_waves(64, 2))
    hidden = hide_blocks((8, 12, 12), (4, 4, 4), torch.full((64,), 0.2), generator())
    test = replace(test, visible=~hidden)
    with torch.no_grad():
        filled = model.eval()(test).mean
    straight = interpolate(test.x, test.t, test.visible, test.t)
    errors = [(x - test.x)[hidden].square().mean().item() for x in (filled, straight)]
    assert errors[0] < 0.5 * errors[1]
