"""What makes CST CST: the interpolation residual, isolated queries, derivatives, masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from neurodyn.backends.batch import Batch, Signal
from neurodyn.backends.cst import CST, CSTConfig
from neurodyn.backends.foresight import known_scores
from neurodyn.backends.layout import Layout
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.metrics.interpolation import linear_interpolation
from neurodyn.nn.derivatives import along
from neurodyn.nn.masking import hide_inner_frames, times_between

SPACE = (9, 7)


def brain() -> np.ndarray:
    mask = np.ones(SPACE, dtype=bool)
    mask[:3, :3] = False
    return mask


def make(config: dict | None = None, *, frames: int = 8, perturb: bool = True) -> CST:
    torch.manual_seed(0)
    settings = {"patch": (3, 3), "width": 16, "heads": 2, "layers": 2} | (config or {})
    model = CST(CSTConfig(**settings), Layout(frames, SPACE, 10.0, brain()))
    data = np.random.default_rng(0).normal(3, 2, (20, frames, *SPACE)).astype(np.float32)
    data[:, :, ~brain()] = np.nan
    model.prepare([data])
    if perturb:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn(parameter.shape)
    return model.eval()


def make_batch(frames: int = 8, hide: tuple[int, ...] = (), irregular: bool = True, count: int = 4) -> Batch:
    rng = torch.Generator().manual_seed(1)
    x = 3 + 2 * torch.randn(count, frames, *SPACE, generator=rng)
    valid = torch.from_numpy(brain()).expand(x.shape).clone()
    visible = valid.clone()
    visible[:, list(hide)] = False
    t = (torch.arange(frames) / 10.0).expand(count, -1)
    if irregular:
        t = t + 0.04 * torch.rand(t.shape, generator=rng)
    return Batch(x.where(valid, 0.0), t, visible, valid, torch.zeros(count, dtype=torch.long))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("official", [False, True])
def test_it_starts_at_linear_interpolation_with_every_samples_own_times(official):
    model, batch = make({"official": official}, perturb=False), make_batch(hide=(2, 3, 6))
    batch.visible[1, 4, 5, 5] = False
    mean = model(batch).mean.detach()
    for b in range(4):
        one = slice(b, b + 1)
        expected = linear_interpolation(batch.x[one].numpy(), batch.t[b].numpy(), batch.visible[one].numpy())
        np.testing.assert_allclose(mean[one].numpy()[:, :, brain()], expected[:, :, brain()], atol=1e-4)
    assert (mean[:, :, ~torch.from_numpy(brain())] == 0).all()


def test_it_holds_the_nearest_frame_beyond_the_ends():
    model, batch = make(perturb=False), make_batch(hide=(0, 7))
    asked = torch.stack([batch.t[:, 0] - 1, batch.t[:, 7] + 1], 1)
    inside = torch.from_numpy(brain())
    torch.testing.assert_close(model.at(batch, asked)[..., inside], batch.x[:, [1, 6]][..., inside])


def test_isolated_queries_do_not_depend_on_each_other_and_joint_ones_do():
    batch = make_batch(hide=(3,))
    asked = torch.tensor([[0.05, 0.33, 0.61]]).expand(4, -1)
    isolated, joint = make(), make({"query": "joint"})
    together, alone = isolated.at(batch, asked), isolated.at(batch, asked[:, 1:2])
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(joint.at(batch, asked)[:, 1:2], joint.at(batch, asked[:, 1:2]), atol=1e-3)


def test_asking_for_many_times_in_chunks_equals_asking_at_once(monkeypatch):
    model, batch = make(), make_batch()
    asked = torch.linspace(0, 0.7, 21).expand(4, -1)
    chunked = model.at(batch, asked)
    monkeypatch.setattr(CST, "QUERY_CHUNK", 100)
    torch.testing.assert_close(chunked, model.at(batch, asked), rtol=1e-5, atol=1e-5)


def test_a_hidden_frame_and_a_query_at_its_time_agree():
    model, batch = make(), make_batch(hide=(3,))
    torch.testing.assert_close(model.at(batch, batch.t[:, 3:4])[:, 0], model(batch).mean[:, 3], rtol=1e-4, atol=1e-4)


def test_attention_rows_sum_to_one_where_there_is_brain():
    model = make()
    attention = model(make_batch(hide=(3,)), attention=True).attention
    assert attention.shape == (4, 9, 8, 9)
    rows = attention.sum((2, 3))
    torch.testing.assert_close(rows[:, 1:], torch.ones(4, 8))
    assert (rows[:, 0] == 0).all()
    assert (attention[..., 0] == 0).all()
    assert (attention[:, :, 3] == 0).all()  # nobody looks at a hidden frame
    assert model.attention_grid == (3, 3)


@pytest.mark.parametrize("flag", [False, True])
def test_attention_to_a_point_is_the_same_seen_or_interpolated_only_where_tokens_do_not_say(flag):
    model = make({"query": "joint", "flag": flag})
    seen, hidden = make_batch(), make_batch(hide=(3,))
    line = (2 + 3 * seen.t)[..., None, None] * seen.valid
    with_all, without = (
        model.attention_maps(replace(batch, x=line.where(batch.visible, 0.0)), rows="all") for batch in (seen, hidden)
    )
    assert torch.allclose(with_all, without, atol=1e-5) is not flag


def test_pixels_outside_the_brain_are_neither_read_nor_scored():
    model, batch = make(), make_batch()
    outside = ~torch.from_numpy(brain())
    x = batch.x.clone()
    x[..., outside] = 1e5
    spoiled = replace(batch, x=x)
    assert torch.equal(model(spoiled).mean, model(batch).mean)
    for name, value in model.loss(batch, generator()).items():
        assert model.loss(spoiled, generator())[name] == value


def test_loss_by_hand_at_the_start():
    model, batch = make({"hide": 2, "visible_weight": 0.5}, perturb=False), make_batch()
    parts = model.loss(batch, generator(4))
    from neurodyn.nn.masking import hide_inner_frames

    hidden = hide_inner_frames(4, 8, 2, generator(4))
    squares = []
    for b in range(4):
        seen = batch.visible[b : b + 1] & ~hidden[b][None, :, None, None]
        linear = linear_interpolation(batch.x[b : b + 1].numpy(), batch.t[b].numpy(), seen.numpy())
        std = model.patches.join(model.std[None, None])[0, 0].numpy()[brain()]
        error = (linear - batch.x[b : b + 1].numpy())[:, hidden[b].numpy()][:, :, brain()] / std
        squares.append(error.ravel() ** 2)
    assert parts["hidden"].item() == pytest.approx(np.concatenate(squares).mean(), rel=1e-4)
    assert parts["visible"].item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_order_of_the_regulariser_has_its_own_part_and_gradient(order):
    weights = [0.0, 0.0, 0.0]
    weights[order - 1] = 1e-3
    model = make({"sobolev": tuple(weights), "dummies": 3})
    parts = model.loss(make_batch(), generator())
    assert set(parts) == {"hidden", "visible", f"sobolev_{order}"}
    parts[f"sobolev_{order}"].backward()
    gradients = [p.grad.abs().max() for p in model.parameters() if p.grad is not None]
    assert max(gradients) > 1e-6


def test_the_regulariser_of_a_linear_signal_is_its_slope():
    weights = (1.0, 1.0, 1.0)
    model = make({"sobolev": weights, "dummies": 4, "hide": 1}, perturb=False)
    batch = make_batch(irregular=False)
    ramp = torch.linspace(-1, 1, 8)[None, :, None, None].expand(batch.x.shape)
    std = model.patches.join(model.std[None, None])[0, 0]
    parts = model.loss(replace(batch, x=(ramp * std).where(batch.valid, 0.0)), generator())
    assert parts["sobolev_1"].item() == pytest.approx(4.0, rel=1e-3)  # from -1 to 1 over the unit window
    assert parts["sobolev_2"].item() == pytest.approx(0.0, abs=1e-3)


def test_noise_and_hiding_come_from_the_generator_alone():
    model, batch = make({"noise": 0.3}).train(), make_batch()
    first, second, other = (model.loss(batch, generator(seed))["hidden"].item() for seed in (1, 1, 2))
    assert first == second != other
    quiet = make({"noise": 0.0}).train()
    assert model.eval().loss(batch, generator(1))["hidden"] == quiet.loss(batch, generator(1))["hidden"]


def test_global_and_entry_normalisation():
    data = np.random.default_rng(0).normal([1, 5], [1, 3], (50, 4, 2)).astype(np.float32)
    for kind, mean, std in (
        ("entry", data.mean((0, 1)), data.std((0, 1))),
        ("global", [data.mean()] * 2, [data.std()] * 2),
    ):
        model = CST(CSTConfig(normalise=kind), Layout(4, (2,), 10.0, np.ones(2, bool)))
        model.prepare([data[:20], data[20:]])
        np.testing.assert_allclose(model.mean[0], mean, rtol=1e-5)
        np.testing.assert_allclose(model.std[0], std, rtol=1e-5)


def test_a_constant_entry_and_an_empty_window_stay_finite():
    model = CST(CSTConfig(), Layout(4, (3,), 10.0, np.ones(3, bool)))
    data = np.ones((5, 4, 3), np.float32)
    data[..., 2] = np.nan
    model.prepare([data])
    nothing = torch.zeros(1, 4, 3, dtype=torch.bool)
    batch = Batch(
        torch.zeros(1, 4, 3), torch.arange(4)[None] / 10.0, nothing, nothing, torch.zeros(1, dtype=torch.long)
    )
    assert torch.isfinite(model(batch).mean).all()
    assert all(torch.isfinite(value) for value in model.loss(batch, generator()).values())


def test_bad_configurations_are_refused():
    with pytest.raises(ValidationError, match="divide"):
        CSTConfig(width=10, heads=4)
    with pytest.raises(ValidationError, match="negative"):
        CSTConfig(sobolev=(0, -1, 0))
    with pytest.raises(ConfigError, match="3 frames"):
        CST(CSTConfig(), Layout(2, (3,), 10.0, np.ones(3, bool)))


def test_exact_derivatives_are_those_of_a_known_function():
    t = torch.rand(3, 5, dtype=torch.float64)
    value, slopes = along(lambda x: torch.sin(2 * x)[..., None] * torch.tensor([1.0, 3.0]), t, 3)
    pair = torch.tensor([1.0, 3.0], dtype=torch.float64)
    for found, expected in zip([value, *slopes], [torch.sin(2 * t), 2 * torch.cos(2 * t), -4 * torch.sin(2 * t), -8 * torch.cos(2 * t)], strict=True):  # fmt: skip
        torch.testing.assert_close(found, expected[..., None] * pair)


def test_exact_derivatives_of_the_model_are_limits_of_finite_differences():
    model, batch = (
        make({"sobolev": (1.0, 1.0, 0.0), "dummies": 3, "derivative": "coord_autograd"}).double(),
        make_batch(),
    )
    batch = replace(batch, x=batch.x.double(), t=batch.t.double())
    observed = model._observe(batch)
    asked = times_between(observed.t, 3, generator()).double()
    output, slopes = model._output_and_slopes(observed, model._tokens(observed, asked))
    step = 1e-4
    either = [model._tokens(observed, asked + sign * step) for sign in (1, -1)]
    plus, minus = (model._decode(model._encode(tokens), tokens)[:, 8:] for tokens in either)
    torch.testing.assert_close(slopes[0], (plus - minus) / (2 * step), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slopes[1], (plus - 2 * output[:, 8:] + minus) / step**2, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("attention", ["full", "factorised", "nystrom"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_order_of_the_exact_regulariser_has_a_gradient(order, attention):
    weights = [0.0, 0.0, 0.0]
    weights[order - 1] = 1e-3
    settings = {"sobolev": tuple(weights), "dummies": 2, "derivative": "coord_autograd", "attention": attention}
    model = make(settings | {"landmarks": 5})
    model.loss(make_batch(), generator())[f"sobolev_{order}"].backward()
    assert max(p.grad.abs().max() for p in model.parameters() if p.grad is not None) > 1e-6


def test_the_published_regulariser_is_the_gradient_of_the_sum_with_respect_to_the_input():
    model = make(
        {"sobolev": (1.0, 0.0, 0.0), "dummies": 2, "derivative": "input_jacobian", "noise": 0.0, "query": "joint"}
    )
    batch = make_batch()
    part = model.loss(batch, generator())["sobolev_1"]
    assert part.requires_grad
    observed, source = model._observe(batch), generator()
    hide = hide_inner_frames(4, 8, 5, source)
    observed = replace(observed, seen=observed.seen & ~hide[:, :, None, None])
    tokens = model._tokens(observed, times_between(observed.t, 2, source))
    change = torch.zeros_like(tokens.base)
    change[1, 9, 2, 3] = 1e-2
    sums = [
        model._decode(model._encode(x), x).sum()
        for x in (replace(tokens, base=tokens.base + s * change) for s in (1, -1))
    ]
    _, slopes = model._output_and_slopes(observed, tokens)
    assert slopes[0][1, 1, 2, 3].item() == pytest.approx(((sums[0] - sums[1]) / 2e-2).item(), rel=2e-2)
    inside = model.patches.inside.expand_as(slopes[0])
    assert part.item() == pytest.approx(slopes[0][inside].square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("attention", ["full", "factorised", "nystrom"])
def test_queried_frames_do_not_depend_on_each_other_nor_on_batch_mates(attention):
    model, batch = make({"attention": attention, "landmarks": 6}), make_batch(hide=(3,))
    asked = torch.tensor([[0.05, 0.33, 0.61]]).expand(4, -1)
    together, alone = model.at(batch, asked), model.at(batch, asked[:, 1:2])
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-4, atol=1e-5)
    one = Batch(*(getattr(batch, f)[2:3] for f in ("x", "t", "visible", "valid", "session")))
    torch.testing.assert_close(model(batch).mean[2:3], model(one).mean, rtol=1e-4, atol=1e-4)


def test_maps_are_kept_apart_or_averaged():
    model, batch = make(), make_batch()
    apart = model.attention_maps(batch, layers=True, heads=True, rows="all")
    sites = model.patches.inside.shape[0]
    assert apart.shape == (4, 2, 2, 8 * sites, 8 * sites)
    torch.testing.assert_close(apart.sum(-1), torch.ones(apart.shape[:-1]))
    last = model.attention_maps(batch)
    torch.testing.assert_close(last, apart.mean((1, 2), keepdim=True)[..., -sites:, :])
    by_head = model.attention_maps(batch, heads=True)
    torch.testing.assert_close(by_head, apart.mean(1, keepdim=True)[..., -sites:, :])


SPACE_DUMMIES = {"dummies": 3, "derivative": "coord_autograd", "dummies_in_space": True}


@pytest.mark.parametrize("attention", ["full", "nystrom"])
def test_derivatives_at_places_between_patches_are_limits_of_finite_differences(attention):
    settings = SPACE_DUMMIES | {"sobolev": (1.0, 1.0, 0.0), "attention": attention, "landmarks": 5}
    model, batch = make(settings).double(), make_batch()
    batch = replace(batch, x=batch.x.double(), t=batch.t.double())
    observed = model._observe(batch)
    place = 0.4 + 0.2 * torch.rand(4, 3, 3, dtype=torch.float64, generator=generator())
    first, second = model._slopes_in_space(observed, place)
    step = 1e-4
    here = model._anywhere(observed, place)
    for axis in range(3):
        move = step * torch.eye(3, dtype=torch.float64)[axis]
        plus, minus = (model._anywhere(observed, place + sign * move) for sign in (1, -1))
        torch.testing.assert_close(first[:, :, axis], (plus - minus) / (2 * step), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(second[:, :, axis], (plus - 2 * here + minus) / step**2, rtol=1e-2, atol=1e-2)


def test_a_query_at_a_patch_is_what_the_patch_answers():
    model, batch = make(SPACE_DUMMIES | {"sobolev": (0.0, 1.0, 0.0)}), make_batch()
    observed = model._observe(batch)
    site, asked = 5, torch.full((4, 1), 0.37)
    place = torch.cat([asked[..., None], model.patches.centres[site].expand(4, 1, 2)], dim=-1)
    tokens = model._tokens(observed, asked)
    expected = model._decode(model._encode(tokens), tokens)[:, 8, site]
    torch.testing.assert_close(model._anywhere(observed, place)[:, 0], expected, rtol=1e-4, atol=1e-4)
    part = model.loss(batch, generator())["sobolev_2"]
    part.backward()
    assert part > 0 and model.network.embed.weight.grad.abs().max() > 1e-6


def test_weights_of_a_place_are_bilinear_and_sum_to_one():
    patches = make().patches  # 3 x 3 patches, the first dropped
    whole = patches.nearness(torch.tensor([[0.5, 0.5], [0.5, 2 / 3], [1.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(whole.sum(-1), torch.ones(4))
    centre, right = 3, 4  # of the sites that are left
    assert whole[0, centre] > 0.9999
    torch.testing.assert_close(whole[1, [centre, right]], torch.tensor([0.5, 0.5]))
    assert whole[2, -1] > 0.9999
    assert set(whole[3].tolist()) == {0.0, 1.0} and whole[3, :3].sum() == 1  # the nearest that is left


@pytest.mark.parametrize(
    "wrong",
    [
        {"derivative": "coord_fd", "dummies": 3, "dummies_in_space": True},
        {"derivative": "coord_autograd"},
        {"derivative": "coord_autograd", "dummies": 3, "query": "joint"},
        {"derivative": "input_jacobian", "dummies": 3},
    ],
)
def test_derivatives_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError, match="derivative"):
        CSTConfig(sobolev=(0.0, 1.0, 0.0), **wrong)


def told_apart(**settings: object) -> CST:
    """A model of two sessions."""
    torch.manual_seed(0)
    config = CSTConfig(patch=(3, 3), width=16, heads=2, layers=2, **settings)
    model = CST(config, Layout(8, SPACE, 10.0, brain(), sessions=("monday", "tuesday")))
    model.prepare([np.random.default_rng(0).normal(0, 1, (20, 8, *SPACE)).astype(np.float32)])
    return model


def test_sessions_start_alike_and_each_learns_from_its_own_windows():
    model, batch = told_apart(session_embedding=True), make_batch()
    assert model.tells_sessions and not told_apart().tells_sessions
    with torch.no_grad():
        model.network.head[-1].weight.normal_()
    mine = replace(batch, session=torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(model.eval()(batch).mean, model(mine).mean, rtol=0, atol=0)
    sum(model.loss(batch, generator()).values()).backward()
    assert model.sessions.grad[0].abs().max() > 1e-4 and not model.sessions.grad[1].any()
    with torch.no_grad():
        model.sessions[1] = torch.randn(16, generator=generator())
    for ask in (lambda b: model(b).mean, lambda b: model.at(b, b.t[:, :2] + 0.03), lambda b: model(b).latents):
        other = (ask(mine) - ask(batch)).abs().flatten(1).amax(1)
        assert (other[1::2] > 1e-3).all() and not other[::2].any()


def test_sessions_are_taken_over_by_name():
    first = told_apart(session_embedding=True)
    with torch.no_grad():
        first.sessions.normal_()
    second = told_apart(session_embedding=True)
    second.layout = replace(second.layout, sessions=("friday", "monday"))
    second.take_over(first)
    torch.testing.assert_close(second.sessions[1], first.sessions[0], rtol=0, atol=0)
    torch.testing.assert_close(second.sessions[0], first.sessions.mean(0), rtol=0, atol=0)
    with pytest.raises(ConfigError, match="cannot start from this run"):
        told_apart().take_over(first)


@pytest.mark.parametrize("apart", [False, True])
def test_what_only_the_session_tells_is_learnt_with_its_vector(apart):
    """Windows of noise whose fifth frame is 1 on Mondays and -1 on Tuesdays."""
    model = told_apart(session_embedding=apart, noise=0.0, hide=2).train()
    session, source = torch.tensor([0, 1] * 4), generator()
    valid = torch.from_numpy(brain()).expand(8, 8, *SPACE)
    visible = valid.clone()
    visible[:, 4] = False

    def windows() -> Batch:
        frames = 0.1 * torch.randn(8, 8, *SPACE, generator=source)
        frames[:, 4] = (1.0 - 2.0 * session)[:, None, None]
        return Batch(frames, (torch.arange(8) / 10.0).expand(8, -1), visible, valid, session)

    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(windows(), source)["hidden"].backward()
        optimizer.step()
    said = model.eval()(windows()).mean[:, 4][:, torch.from_numpy(brain())]
    error = (said - (1.0 - 2.0 * session)[:, None]).square().mean().item()
    assert error < 0.1 if apart else error > 0.8


AHEAD = 3


def foreseeing(**config) -> CST:
    torch.manual_seed(0)
    settings = {"patch": (3, 3), "width": 16, "heads": 2, "layers": 1, "rank": 4, "components": 5} | config
    model = CST(CSTConfig(**settings), Layout(8, SPACE, 10.0, brain(), ahead=AHEAD))
    model.prepare([moving(40, 0).x.where(moving(40, 0).valid, torch.nan).numpy()])
    model.prepare_batches([moving(40, 0), moving(40, 1)])
    return model.eval()


def moving(count: int, seed: int) -> Batch:
    """Windows of two patterns that turn, and a little noise."""
    rng = torch.Generator().manual_seed(seed)
    patterns = torch.randn(2, *SPACE, generator=torch.Generator().manual_seed(9))
    phase = 6.3 * torch.rand(count, 1, generator=rng) + 0.6 * torch.arange(8 + AHEAD)
    turning = torch.stack([phase.sin(), phase.cos()], -1)
    x = (
        3
        + torch.einsum("btk,kyx->btyx", turning, patterns)
        + 0.05 * torch.randn(count, 8 + AHEAD, *SPACE, generator=rng)
    )
    valid = torch.from_numpy(brain()).expand(x.shape).clone()
    x, t = x.where(valid, 0.0), (torch.arange(8) / 10.0).expand(count, -1)
    after = Signal(x[:, 8:], torch.zeros_like(valid[:, 8:]), valid[:, 8:])
    return Batch(x[:, :8], t, valid[:, :8], valid[:, :8], torch.zeros(count, dtype=torch.long), ahead=after)


@pytest.mark.parametrize("components", [5, None])
def test_it_starts_at_the_linear_forecast_of_what_follows(components):
    model, batch = foreseeing(components=components, noise=0.0), moving(30, 5)
    parts = model.loss(batch, generator())
    code = model.foresight.code(known_scores(model.components, batch, batch.valid))
    forecast = model.components.frames(model.foresight.forecast(code))
    valid = batch.ahead.valid
    assert (forecast - batch.ahead.x)[valid].square().mean() < 0.05 * batch.ahead.x[valid].var()
    if components is None:
        wrong = model.patches.split(forecast - batch.ahead.x) / model.std
        assert parts["ahead"].item() == pytest.approx(
            wrong[model.patches.split(valid)].square().mean().item(), rel=1e-3
        )


def test_the_summary_never_sees_what_follows_and_holds_the_sources():
    model, batch = foreseeing(), moving(30, 5)
    summary = model(batch).summary
    assert summary.shape == (30, 4 + 16)
    torch.testing.assert_close(summary, model(replace(batch, ahead=None)).summary)
    code = model.foresight.code(known_scores(model.components, batch, batch.valid))
    torch.testing.assert_close(summary[:, :4], model.foresight.sources(code))
    assert model(batch).latents.shape == (30, 8, 16)


def test_tokens_of_components_hold_frames_but_for_their_noise():
    model, batch = foreseeing(components=4), moving(30, 5)
    back = model.patches.join(model.patches.split(batch.x))
    inside = batch.valid
    assert (back - batch.x)[inside].square().mean() < 0.004
    assert (back[~inside] == 0).all()
    partly = batch.valid.clone()
    partly[0, 2, 5, 5] = False
    assert not model.patches.split(partly)[0, 2].any()


def test_windows_that_nothing_whole_follows_are_told(tmp_path):
    model, batch = CST(CSTConfig(components=5), Layout(8, SPACE, 10.0, brain(), ahead=AHEAD)), moving(40, 0)
    model.prepare([batch.x.where(batch.valid, torch.nan).numpy()])
    nothing = replace(batch, ahead=Signal(batch.ahead.x, batch.ahead.visible, torch.zeros_like(batch.ahead.valid)))
    with pytest.raises(DataError, match="followed by whole frames"):
        model.prepare_batches([nothing])
