"""AtmoRep: what each field is told, what it answers, how surely, and what it learns from the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.backends.atmorep import AtmoRep
from neurodyn.backends.batch import Batch, Signal
from neurodyn.backends.cst import CST
from neurodyn.backends.layout import Channel, Layout
from neurodyn.core.errors import ConfigError
from neurodyn.nn.ensemble import kernel_crps, statistical_loss
from neurodyn.nn.parts import mean_where
from neurodyn.nn.token_masks import Masked

FRAMES, COUNT = 10, 4
SPACES = {"dff": (7, 6), "reflectance": (5, 4), "cells": (5,), "behavior.speed": (1,)}
SMALL = {"token": (4, 3, 3), "width": 16, "heads": 2, "layers": 2, "members": 4, "rois": 2}
BASES = ("none", "interpolation", "components", "both")


def brain(name: str) -> np.ndarray:
    mask = np.ones(SPACES[name], bool)
    if len(mask.shape) == 2:
        mask[:3, :3] = False
    return mask


def signal(name: str, seed: int = 0, hide: tuple[int, ...] = ()) -> Signal:
    source = torch.Generator().manual_seed(seed + len(name))
    valid = torch.from_numpy(brain(name)).expand(COUNT, FRAMES, *SPACES[name]).clone()
    valid[0, 1, ..., -1] = False
    visible = valid.clone()
    visible[:, list(hide)] = False
    x = 3 + 2 * torch.randn(valid.shape, generator=source).cumsum(1)
    return Signal(x.where(valid, 0.0), visible, valid)


def make_batch(names: tuple[str, ...] = tuple(SPACES), seed: int = 0, hide: tuple[int, ...] = ()) -> Batch:
    main, *others = (signal(name, seed, hide) for name in names)
    t, session = (torch.arange(FRAMES) / 10.0).expand(COUNT, -1), torch.zeros(COUNT, dtype=torch.long)
    return Batch(main.x, t, main.visible, main.valid, session, others=tuple(others) or None)


def make(names: tuple[str, ...] = tuple(SPACES), moved: bool = True, seed: int = 0, **config) -> AtmoRep:
    """A prepared model, with weights away from their start unless not `moved`."""
    torch.manual_seed(seed)
    main, *others = (Channel(name, SPACES[name], brain(name)) for name in names)
    layout = Layout(FRAMES, main.space, 10.0, main.brain, variable=main.name, others=tuple(others))
    model = AtmoRep(AtmoRep.Config(**SMALL | config), layout)
    batches = [make_batch(names, seed=1), make_batch(names, seed=2)]
    model.prepare([batch.x.where(batch.valid, torch.nan).numpy() for batch in batches])
    model.prepare_batches(batches)
    with torch.no_grad():
        for parameter in model.parameters() if moved else ():
            parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def without(batch: Batch, place: int) -> Batch:
    """Hide one field as a whole: 0 is the main one."""
    if place == 0:
        return replace(batch, visible=torch.zeros_like(batch.visible))
    others = list(batch.others)
    others[place - 1] = replace(others[place - 1], visible=torch.zeros_like(others[place - 1].visible))
    return replace(batch, others=tuple(others))


def moved_other(batch: Batch, place: int = 1) -> Batch:
    others = list(batch.others)
    others[place - 1] = replace(others[place - 1], x=others[place - 1].x.flip(1))
    return replace(batch, others=tuple(others))


def test_fields_have_the_units_of_their_training_frames():
    model = make()
    batches = [make_batch(seed=1), make_batch(seed=2)]
    for place, name in enumerate(SPACES):
        every = [batch.x if not place else batch.others[place - 1].x for batch in batches]
        valid = [batch.valid if not place else batch.others[place - 1].valid for batch in batches]
        x = torch.cat(every).where(torch.cat(valid), torch.nan).numpy()
        expected = np.nanmean(x[..., brain(name)], (0, 1))
        np.testing.assert_allclose(model.field(name).frames.cells.mean[0].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("base", BASES)
def test_everything_is_answered_in_its_own_shape(base):
    model, batch = make(base=base), make_batch(hide=(9,))
    answer = model(batch)
    for found, name in zip((answer, *answer.others), SPACES, strict=True):
        shape = (COUNT, FRAMES, *SPACES[name])
        assert found.mean.shape == found.std.shape == shape
        assert found.members.shape == (COUNT, 4, *shape[1:])
        assert (found.std[:, :, brain(name)] > 0).all() and not found.std[:, :, ~brain(name)].any()
    assert answer.latents.shape == (COUNT, FRAMES, 16)
    assert torch.equal(answer.latents[:, 8], answer.latents[:, 9])
    assert make(("dff",))(make_batch(("dff",))).others is None


@pytest.mark.parametrize("base", BASES)
def test_a_new_model_answers_what_it_corrects(base):
    model, batch = make(moved=False, base=base), make_batch(hide=(4, 5))
    field, answer = model.field("dff"), model(batch)
    (given, t) = model._given(batch)["dff"], model.layout.unit_time(batch.t, batch.t)
    estimates = field.estimates(given, t)
    assert len(estimates) == {"none": 0, "both": 2}.get(base, 1)
    z = sum(estimates) / max(1, len(estimates)) if estimates else torch.zeros_like(given.values)
    inside = torch.from_numpy(brain("dff"))
    torch.testing.assert_close(answer.mean[..., inside], field.restored(z)[..., inside], rtol=1e-4, atol=1e-4)
    seen = batch.visible & (base != "none")
    torch.testing.assert_close(answer.mean[seen], batch.x[seen], rtol=1e-4, atol=1e-4)


def test_what_is_never_seen_in_a_window_is_what_the_components_say():
    model, batch = make(base="both"), make_batch()
    visible = batch.visible.clone()
    visible[:, :, 5, 4] = False
    field, t = model.field("dff"), model.layout.unit_time(batch.t, batch.t)
    line, low_rank = (field.restored(some) for some in field.estimates(field.given(batch.x, visible), t))
    assert torch.equal(line[:, :, 5, 4], low_rank[:, :, 5, 4])
    assert line[:, :, 5, 4].std() > 0.1


def test_a_token_is_told_its_own_values_alone():
    for base in ("none", "interpolation"):
        model, batch = make(base=base), make_batch()
        field, t = model.field("dff"), model.layout.unit_time(batch.t, batch.t)

        def embedded(given, field=field, t=t):
            return field.embedded(given, field.estimates(given, t), t)

        given = model._given(batch)["dff"]
        places = len(field.patches.sites)
        values = given.values.clone()
        values[:, 4:8, 2] += 1.0  # the second step's third place
        moved = (embedded(replace(given, values=values)) != embedded(given)).any(-1).any(0)
        assert moved.nonzero().flatten().tolist() == [places + 2]


def test_hidden_entries_of_a_token_do_not_matter_and_seen_ones_do():
    model, batch = make(), make_batch()
    visible = batch.visible.clone()
    visible[:, 2, 4, 4:] = False
    hidden = replace(batch, visible=visible)
    answer = model(hidden).mean
    assert torch.equal(model(replace(hidden, x=batch.x.where(visible, 1e6))).mean, answer)
    beside = batch.x.clone()
    beside[:, 2, 4, 3] += 1
    assert not torch.allclose(model(replace(hidden, x=beside)).mean[:, 2, 4, 4:], answer[:, 2, 4, 4:])
    assert not torch.allclose(model(batch).mean, answer)


def test_tokens_hold_their_frames_one_after_the_other():
    field = make().field("dff")
    values = torch.randn(2, FRAMES, len(field.patches.sites), 9)
    tokens = field.tiled(values)
    assert tokens.shape == (2, 3, len(field.patches.sites), 4 * 9)
    assert torch.equal(tokens[1, 1, 2], values[1, 4:8, 2].flatten())
    assert torch.equal(tokens[1, 2, 2, 18:], torch.zeros(18))
    assert torch.equal(field.untiled(tokens), values)


def test_the_order_of_the_other_fields_does_not_matter():
    names, turned = ("dff", "reflectance", "behavior.speed"), ("dff", "behavior.speed", "reflectance")
    first, second = make(names), make(turned, seed=1)
    second.load_state_dict(first.state_dict())
    answer, other = first(make_batch(names)), second(make_batch(turned))
    torch.testing.assert_close(other.mean, answer.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.others[1].members, answer.others[0].members, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.latents, answer.latents, rtol=1e-4, atol=1e-4)


def test_fields_matter_to_those_that_look_at_them():
    batch = make_batch()
    for coupled, config in ((True, {}), (False, {"coupling": False})):
        model = make(**config)
        before, after = model(batch), model(moved_other(batch))
        assert torch.equal(after.mean, before.mean) == (not coupled)
        assert torch.equal(after.others[1].mean, before.others[1].mean) == (not coupled)
        assert any(".others." in name for name, _ in model.network.encoder.named_parameters()) == coupled
    graph = make(coupled={"dff": ("reflectance",), "cells": ("dff",)}, layers=1)
    before, after = graph(batch), graph(moved_other(batch))
    assert not torch.equal(after.mean, before.mean)
    assert torch.equal(after.others[1].mean, before.others[1].mean)
    assert torch.equal(graph(moved_other(batch, 3)).mean, before.mean)


@pytest.mark.parametrize("base", BASES)
def test_what_is_not_seen_at_all_is_answered(base):
    model, batch = make(base=base), make_batch()
    for hidden in ([0], [1], [3], range(4)):
        dark = batch
        for place in hidden:
            dark = without(dark, place)
        answer = model(dark)
        for found in (answer, *answer.others):
            assert torch.isfinite(found.mean).all() and torch.isfinite(found.std).all()
        assert all(torch.isfinite(part) for part in model.loss(dark, source()).values())


@pytest.mark.parametrize("loss", ["crps", "crps_gaussian", "statistical"])
def test_every_member_and_every_field_learns(loss):
    model = make(loss=loss).train()
    for seed in range(4):
        sum(model.loss(make_batch(), source(seed)).values()).backward()
    for name in SPACES:
        gradient = model.field(name).tail.weight.grad.unflatten(0, (4, -1))
        assert (gradient.abs().amax((1, 2)) > 0).all()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing


def test_members_agree_with_mean_and_spread():
    model, batch = make(), make_batch(hide=(3, 4))
    model.field("reflectance").factor.fill_(2.5)
    answer = model(batch)
    for found, name in zip((answer, *answer.others), SPACES, strict=True):
        inside = torch.from_numpy(brain(name))
        torch.testing.assert_close(found.members.mean(1)[..., inside], found.mean[..., inside], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.members.std(1)[..., inside], found.std[..., inside], rtol=1e-3, atol=1e-4)


def fixed_masks(model: AtmoRep, monkeypatch, batch: Batch, **kinds) -> dict[str, Masked]:
    """Have the model draw these masks: the second step of every field's first place."""
    masks = {}
    for name in model.names:
        grid = model.field(name).grid
        none = torch.zeros(COUNT, FRAMES, len(grid.kept), 1, dtype=torch.bool)
        chosen = none.clone()
        chosen[:, 4:8, 0] = True
        masks[name] = Masked(chosen, *(chosen if kinds.get(kind) else none for kind in ("gone", "noisy", "coarse")))
    monkeypatch.setattr(model, "_masks", lambda *_: masks)
    return masks


@pytest.mark.parametrize(("loss", "score"), [("statistical", statistical_loss), ("crps", kernel_crps)])
def test_the_loss_is_the_score_of_what_was_chosen_and_valid(monkeypatch, loss, score):
    model = make(loss=loss, weights={"cells": 0.5}, visible_weight=0.2)
    batch = make_batch(hide=(9,))
    masks = fixed_masks(model, monkeypatch, batch, gone=True)
    shown = model._shown(model._given(batch), masks, source())
    members = model._answers(shown, batch).members
    parts = model.loss(batch, source())
    for name, ending in zip(SPACES, ("", "_reflectance", "_cells", "_behavior.speed"), strict=True):
        target, valid = model._target(name, batch)
        asked = masks[name].chosen.expand_as(valid).clone()
        asked[:, 9] = True  # not visible: to be guessed, too
        weight = 0.5 if name == "cells" else 1.0
        error = score(members[name], target)
        torch.testing.assert_close(parts[f"masked{ending}"], weight * mean_where(error, asked & valid))
        torch.testing.assert_close(parts[f"visible{ending}"], weight * 0.2 * mean_where(error, valid & ~asked))
    assert len(parts) == 8


def test_what_is_not_valid_is_no_target(monkeypatch):
    model, batch = make(), make_batch()
    fixed_masks(model, monkeypatch, batch, gone=True)
    spoiled = replace(
        batch,
        x=batch.x.where(batch.valid, 1e6),
        others=tuple(replace(one, x=one.x.where(one.valid, -1e6)) for one in batch.others),
    )
    before, after = model.loss(batch, source()), model.loss(spoiled, source())
    assert {k: v.item() for k, v in before.items()} == {k: v.item() for k, v in after.items()}


def test_the_targets_of_spoiled_tokens_are_the_originals(monkeypatch):
    model, batch = make(), make_batch()
    fixed_masks(model, monkeypatch, batch, noisy=True, coarse=True)
    given, fed = model._given(batch), {}
    answers = model._answers
    monkeypatch.setattr(model, "_answers", lambda shown, b: fed.update(shown) or answers(shown, b))
    targets = []
    monkeypatch.setattr(
        "neurodyn.backends.atmorep.LOSSES", {"crps": lambda y, x: targets.append(x) or kernel_crps(y, x)}
    )
    model.loss(batch, source())
    for name, target in zip(model.names, targets, strict=True):
        assert torch.equal(target, given[name].values)
        changed = (fed[name].values != given[name].values).any(-1)
        assert changed[:, 4:8, 0].all() and changed.sum() == 4 * COUNT
        assert torch.equal(fed[name].seen, given[name].seen)


@pytest.mark.parametrize("mode", ["bert", "blocks", "channel", "forecast"])
def test_calibrated_spread_matches_skill_where_it_was_calibrated(mode):
    model, batches = make(modes={mode: 1.0}, layers=1), [make_batch(seed=seed) for seed in (3, 4)]
    model.calibrate(batches, source(5))
    again, errors, spreads = source(5), dict.fromkeys(SPACES, 0.0), dict.fromkeys(SPACES, 0.0)
    for batch in batches:
        shown = model._shown(model._given(batch), model._masks(mode, batch, again), again)
        for name, members in model._answers(shown, batch).members.items():
            target, valid = model._target(name, batch)
            hidden = valid & ~shown[name].seen
            errors[name] += (target - members.mean(1)).square()[hidden].sum().item()
            spreads[name] += (model.field(name).factor * members.std(1)).square()[hidden].sum().item()
    for name in SPACES:
        assert (1 + 1 / 4) * spreads[name] / errors[name] == pytest.approx(1, rel=1e-4)
        assert model.field(name).factor != 1


def test_a_run_of_one_field_starts_one_of_several():
    single, model = make(("reflectance",)), make(("dff", "reflectance"), moved=False, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    single.field("reflectance").factor.fill_(3.0)
    assert model.take_over(single) == ()
    taken, after = dict(single.named_parameters()), model.state_dict()
    for name, value in after.items():
        if name in taken:
            assert torch.equal(value, taken[name]), name
        elif name.startswith("network.encoder.") and ".others." in name and name.endswith("join.weight"):
            assert value.min() >= 0 and value.max() <= 0.01 and value.std() > 0.002, name
        else:  # the other field, questions between fields, and what was found in preparing
            assert torch.equal(value, before[name]), name
    assert len([name for name in after if name in taken]) == len(taken)


def test_strangers_are_refused():
    model = make(("dff",))
    layout = Layout(FRAMES, (7, 6), 10.0, brain("dff"), variable="dff")
    for other in (make(("cells",)), make(("dff",), width=32), CST(CST.Config(patch=(3, 3)), layout)):
        with pytest.raises(ConfigError, match="cannot start"):
            model.take_over(other)
    assert model.take_over(make(("dff", "cells"), members=6)) == ()


@pytest.mark.parametrize("key", ["tokens", "weights", "coupled"])
def test_signals_that_are_not_shown_are_named(key):
    value = {"tokens": (1, 1, 1), "weights": 1.0, "coupled": ("dff",)}[key]
    with pytest.raises(ConfigError, match="no signal wheel"):
        make(**{key: {"wheel": value}})


def test_impossible_configurations_are_refused():
    for config in ({"heads": 3}, {"heads": 2, "width": 9}, {"modes": {}}, {"modes": {"bert": -1.0, "frames": 2.0}}):
        with pytest.raises(ValueError, match="heads|modes"):
            AtmoRep.Config(**config)
    with pytest.raises(ConfigError, match="at least 11 frames"):
        make(token=(10, 3, 3))


def test_tokens_of_other_sizes():
    model = make(tokens={"reflectance": (5, 2, 4), "behavior.speed": (20, 1, 1)})
    grids = [model.field(name).grid for name in SPACES]
    assert [(grid.steps, len(grid.kept)) for grid in grids] == [(3, 5), (2, 3), (3, 3), (1, 1)]
    assert model.field("reflectance").patches.pixels == 8
    model.train()
    for seed in range(6):
        assert all(torch.isfinite(part) for part in model.loss(make_batch(), source(seed)).values())
