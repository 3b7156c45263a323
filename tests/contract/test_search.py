"""Every back-end declares a search space that its configuration takes."""

import random

import pytest
import torch

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.core.config import Resolved
from neurodyn.core.search import Choice
from neurodyn.runs.config import TrainingConfig
from neurodyn.training.space import Search, TuneConfig
from tests.contract.test_backends import SMALL, SPACES, generator, layout, make_batch

NOTHING_TO_TUNE = {"linear", "persistence", "psth", "response_rate", "source_mean"}
PARTS_OF_THE_CRITERION = {
    "balance", "block", "components", "error", "gamma", "hide", "hide_frames", "l2", "likelihood", "loss", "members",
    "modes", "normalise", "ratio", "trace_weight", "variance", "visible_weight", "weights",
}  # fmt: skip
RANK_IS_NO_UNIT = {"pca", "reduced_rank", "svd"}


def search_of(name: str) -> Search:
    backend = BACKENDS.get(name)
    resolved = Resolved({"backend": name, "model": {}}, {})
    return Search(name, resolved, dict(backend.SEARCH), TuneConfig.model_validate({}))


def built(name: str, **chosen) -> Backend:
    kind = BACKENDS.get(name)
    return kind(kind.Config(**SMALL.get(name, {}) | chosen), layout(kind, SPACES["traces"]))


@pytest.mark.parametrize("name", BACKENDS.names())
def test_what_is_declared_exists_takes_both_ends_and_holds_the_default(name):
    search = search_of(name)
    for key, space in search.space.items():
        section, _, parameter = key.partition(".")
        owner = {"model": BACKENDS.get(name).Config, "training": TrainingConfig}[section]
        assert parameter in owner.model_fields, key
        assert search.start[key] in space, f"{key}: default {search.start[key]} is not in {space}"
        for end in space.ends:
            found = search.with_values({key: end}, key).model_dump(mode="json")[section][parameter]
            assert found in Choice((end,)), f"{key}: {end} became {found}"


@pytest.mark.parametrize("name", BACKENDS.names())
def test_corners_of_the_space_are_configurations(name):
    search, rng = search_of(name), random.Random(0)
    for _ in range(20):
        chosen = {key: rng.choice(space.ends) for key, space in search.space.items()}
        assert search.with_values(chosen, "corner").backend == name


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("name", BACKENDS.names())
def test_models_of_the_outermost_values_have_a_finite_loss(name, end):
    space = BACKENDS.get(name).SEARCH
    chosen = {key.removeprefix("model."): own.ends[end] for key, own in space.items() if key.startswith("model.")}
    backend = built(name, **chosen)
    parts = backend.eval().loss(make_batch(SPACES["traces"]), generator())
    assert all(torch.isfinite(part).all() for part in parts.values())


@pytest.mark.parametrize("name", BACKENDS.names())
def test_what_trains_has_a_learning_rate_to_tune_and_what_does_not_has_none(name):
    space = BACKENDS.get(name).SEARCH
    assert any(key.startswith("training.") for key in space) == (built(name).stages() != ())
    assert (not space) == (name in NOTHING_TO_TUNE)


@pytest.mark.parametrize("name", BACKENDS.names())
def test_nothing_is_searched_that_changes_what_trials_are_compared_by(name):
    keys = {key.removeprefix("model.") for key in BACKENDS.get(name).SEARCH}
    assert not keys & (PARTS_OF_THE_CRITERION - ({"components"} if name in RANK_IS_NO_UNIT else set()))
