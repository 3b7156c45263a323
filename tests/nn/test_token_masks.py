"""Masks of several fields hide exactly what their modes name."""

import pytest
import torch

from neurodyn.nn.masking import hide_blocks
from neurodyn.nn.token_masks import Masked, Masking, TokenGrid, choose_mode, coarsened, disturbed

MOVIE = TokenGrid(14, 4, (2, 3), (2, 2), (0, 1, 3))  # four tokens along time, the last of two frames
COURSE = TokenGrid(14, 3, (1, 1), (1, 1), (0,))
COUNT = 64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(mode: str, grids=(MOVIE, COURSE), seed: int = 0, **settings) -> tuple[Masked, ...]:
    return Masking(**settings).draw(mode, grids, COUNT, seeded(seed))


def per_token(grid: TokenGrid, frames: torch.Tensor) -> torch.Tensor:
    """Bring a mask of frames back to tokens, whose frames must agree."""
    tokens = frames[:, :: grid.depth, :, 0]
    assert torch.equal(grid.framed(tokens), frames)
    return tokens


def test_random_tokens_have_the_stated_shares():
    grid = TokenGrid(40, 4, (2, 2), (5, 5), tuple(range(25)))
    (found,) = Masking(ratio=0.5, zero=0.6, noise=0.3, coarse=0.2).draw("bert", [grid], 800, seeded())
    chosen, gone, noisy, coarse = (
        per_token(grid, some).float() for some in (found.chosen, found.gone, found.noisy, found.coarse)
    )
    count = chosen.sum((1, 2))
    assert count.min() >= 1 and count.max() <= 125
    assert count.mean().item() == pytest.approx(0.25 * 250, rel=0.05)
    assert chosen.mean(0).std() < 0.05  # every token alike
    assert (gone.sum() / chosen.sum()).item() == pytest.approx(0.6, abs=0.02)
    assert (noisy.sum() / chosen.sum()).item() == pytest.approx(0.3 * 0.4, abs=0.02)
    assert (coarse.sum() / chosen.sum()).item() == pytest.approx(0.2 * 0.4, abs=0.02)
    assert (torch.stack([gone, noisy, coarse]) <= chosen).all()
    untouched = chosen.bool() & ~gone.bool() & ~noisy.bool() & ~coarse.bool()
    assert untouched.any()


def test_fields_are_masked_apart_unless_synced_and_cut_alike():
    alike = TokenGrid(14, 4, (2, 3), (2, 2), (0, 1, 3))
    first, second, other = draw("bert", (MOVIE, alike, COURSE))
    assert not torch.equal(first.chosen, second.chosen)
    first, second, other = draw("bert", (MOVIE, alike, COURSE), synced=True)
    assert torch.equal(first.chosen, second.chosen) and torch.equal(first.noisy, second.noisy)
    assert other.chosen.shape == (COUNT, 14, 1, 1)
    elsewhere = TokenGrid(14, 4, (2, 3), (2, 2), (0, 1, 2))
    first, second = draw("bert", (MOVIE, elsewhere), synced=True)
    assert not torch.equal(first.chosen, second.chosen)


@pytest.mark.parametrize(
    ("mode", "ahead", "movie", "course"),
    [
        ("forecast", 1, range(12, 14), range(12, 14)),
        ("forecast", 2, range(8, 14), range(6, 14)),
        ("forecast", 9, range(4, 14), range(3, 14)),
        ("hindcast", 1, range(4), range(6)),
        ("hindcast", 2, range(8), range(9)),
    ],
)
def test_the_last_or_first_tokens_are_hidden_and_what_overlaps_with_them(mode, ahead, movie, course):
    for found, grid, frames in zip(draw(mode, ahead=ahead), (MOVIE, COURSE), (movie, course), strict=True):
        expected = torch.tensor([frame in frames for frame in range(14)])[None, :, None, None]
        assert torch.equal(found.gone, expected.expand(COUNT, 14, len(grid.kept), 1))
        assert torch.equal(found.chosen, found.gone)
        assert not (found.noisy | found.coarse).any()


def test_inner_tokens_are_hidden_anywhere_but_at_the_ends():
    for ahead, starts in ((1, {4, 8}), (2, {4}), (5, {4})):
        movie, _ = draw("interpolate", ahead=ahead)
        hidden = per_token(MOVIE, movie.gone).any(-1)
        assert not hidden[:, 0].any() and not hidden[:, -1].any()
        assert (hidden.sum(1) == min(ahead, 2)).all()
        assert {4 * int(row.float().argmax()) for row in hidden} == starts
    two = TokenGrid(8, 4, (1, 1), (1, 1), (0,))
    (found,) = draw("interpolate", (two,))
    assert (found.gone.sum((1, 2)) == 4).all()


def test_one_field_is_hidden_for_a_stretch():
    movie, course = draw("channel")
    hidden = torch.stack([movie.gone.flatten(1).any(1), course.gone.flatten(1).any(1)])
    assert (hidden.sum(0) == 1).all() and hidden.any(1).all()
    tokens = per_token(MOVIE, movie.gone)
    assert torch.equal(tokens.any(-1), tokens.all(-1))  # all places
    lengths = tokens.any(-1).sum(1)
    assert set(lengths.tolist()) == {0, 1, 2, 3, 4}
    assert (tokens.any(-1).int().diff(dim=1).abs().sum(1) <= 2).all()  # in one piece
    (alone,) = draw("channel", (MOVIE,))
    assert set(per_token(MOVIE, alone.gone).any(-1).sum(1).tolist()) == {1, 2, 3}


def test_blocks_lie_anywhere():
    grid = TokenGrid(12, 3, (2, 3), (3, 2), (0, 1, 2, 4, 5))
    (found,) = Masking(ratio=0.4).draw("blocks", [grid], 300, seeded())
    assert found.gone.shape == (300, 12, 5, 6)
    assert found.gone.float().mean().item() == pytest.approx(0.22, abs=0.03)
    assert found.gone.float().mean(0).std() < 0.04  # every entry alike
    share = torch.full((300,), 0.3)
    frames = hide_blocks((12, 6, 6), (3, 2, 3), share, seeded(4))
    tokens = grid.blocks(share, seeded(4))
    for index, place in enumerate(grid.kept):
        row, column = 2 * (place // 2), 3 * (place % 2)
        assert torch.equal(tokens[:, :, index], frames[:, :, row : row + 2, column : column + 3].flatten(2))


def test_single_frames_are_hidden_in_all_fields():
    movie, course = draw("frames", hide=3)
    whole = movie.gone.flatten(2).all(2)
    assert torch.equal(whole, course.gone.flatten(2).all(2)) and torch.equal(whole, movie.gone.flatten(2).any(2))
    count = whole.sum(1)
    assert set(count.tolist()) == {1, 2, 3}
    assert not movie.gone[:, [0, -1]].any()


def test_modes_are_drawn_by_their_weight_whatever_their_order():
    source, again = seeded(), seeded()
    modes = {"b": 3.0, "a": 1.0, "c": 0.0}
    drawn = [choose_mode(modes, source) for _ in range(400)]
    assert drawn == [choose_mode(dict(sorted(modes.items())), again) for _ in range(400)]
    assert set(drawn) == {"a", "b"} and drawn.count("a") / 400 == pytest.approx(0.25, abs=0.06)


def tokens(grid: TokenGrid, batch: int = COUNT) -> torch.Tensor:
    pixels = grid.patch[0] * grid.patch[1]
    return 1 + torch.randn(batch, grid.frames, len(grid.kept), pixels, generator=seeded(9))


def test_only_what_was_chosen_is_disturbed():
    values, (found, _) = tokens(MOVIE), draw("bert", ratio=0.9, zero=0.3, noise=0.3, coarse=0.3)
    seen = torch.rand(values.shape, generator=seeded(8)) < 0.8
    shown, left = disturbed(values, seen, found, MOVIE, seeded())
    gone, chosen = found.gone.expand_as(seen), found.chosen.expand_as(seen)
    assert torch.equal(left, seen & ~gone)
    assert (shown[~left] == 0).all()
    assert torch.equal(shown[left & ~chosen], values[left & ~chosen])
    for some in (found.noisy, found.coarse):
        assert (shown != values)[left & some].float().mean() > 0.8


def test_noisy_tokens_are_weaker_alike_in_all_their_frames():
    values, none = tokens(MOVIE).sign() * 1000, torch.zeros(COUNT, 14, 3, 1, dtype=torch.bool)
    masked = Masked(~none, none, ~none, none)
    shown, _ = disturbed(values, torch.ones_like(values, dtype=torch.bool), masked, MOVIE, seeded())
    kept = shown / values
    assert (kept[:, :4] - kept[:, :1]).abs().max() < 1e-3  # the noise is a tenth
    assert kept.min() > -1e-3 and kept.max() < 1 + 1e-3
    assert kept[:, ::4].std() == pytest.approx(12**-0.5, abs=0.02)


def test_coarse_tokens_are_means_of_what_is_seen_of_two_by_two_pixels():
    values = torch.arange(6.0).reshape(1, 1, 1, 6)  # rows 0 1 2 and 3 4 5
    seen = torch.ones(1, 1, 1, 6, dtype=torch.bool)
    assert coarsened(values, seen, (2, 3)).flatten().tolist() == [2, 2, 3.5, 2, 2, 3.5]
    seen[..., 4] = False
    got = coarsened(values, seen, (2, 3)).flatten()
    torch.testing.assert_close(got, torch.tensor([4 / 3, 4 / 3, 3.5, 4 / 3, 4 / 3, 3.5]))
    assert coarsened(values, seen, (1, 6)).flatten().tolist() == [0.5, 0.5, 2.5, 2.5, 5, 5]
    assert coarsened(values[..., :1] + 7, seen[..., :1], (1, 1)).item() == 7
    assert (coarsened(values, ~seen & False, (2, 3)) == 0).all()
