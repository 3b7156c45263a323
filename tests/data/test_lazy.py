"""Arrays on disk are sliced as NumPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.readers.lazy_views import Computed, Loaded, Part, Picked, Turned, Unfolded

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)


class Kept(DiskArray):
    """A block is read as it is asked for: whole slices that run forwards and hold something."""

    def __init__(self, values):
        super().__init__(values.shape, values.dtype)
        self.values = values

    def _block(self, key):
        for part, size in zip(key, self.shape, strict=True):
            assert 0 <= part.start < part.stop <= size and part.step > 0
            assert (part.stop - 1 - part.start) % part.step == 0
        return self.values[key]


def numbers(shape):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


@st.composite
def arrays_and_keys(draw):
    values = numbers(draw(SHAPES))
    key = draw(hnp.basic_indices(values.shape))
    parts = key if isinstance(key, tuple) else (key,)
    if values.ndim and values.shape[0] and parts and parts[0] is not Ellipsis and draw(st.booleans()):
        rows = draw(st.lists(st.integers(-values.shape[0], values.shape[0] - 1), max_size=8))
        key = (np.array(rows, dtype=int), *parts[1:])
    return values, key


@given(arrays_and_keys())
def test_every_key_gives_what_numpy_gives(drawn):
    values, key = drawn
    found = Kept(values)[key]
    np.testing.assert_array_equal(found, values[key])
    assert found.shape == values[key].shape and found.dtype == values.dtype


@given(arrays_and_keys())
def test_views_of_views_give_what_numpy_gives(drawn):
    values, key = drawn
    np.testing.assert_array_equal(Computed(np.add, Kept(values), Turned(Kept(values.T)))[key], 2 * values[key])
    np.testing.assert_array_equal(Loaded(values.shape, values.dtype, lambda: values)[key], values[key])


@given(st.data(), hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
def test_parts_and_frames_in_any_order(data, shape):
    values = numbers(shape)
    picks = [range(size)[data.draw(st.slices(size))] for size in shape]
    picks[-1] = data.draw(st.integers(0, shape[-1] - 1))
    expected = values[np.ix_(*picks[:-1], [picks[-1]])][..., 0]
    key = data.draw(hnp.basic_indices(expected.shape, allow_ellipsis=False))
    forwards = tuple(pick if isinstance(pick, int) else pick[:: 1 if pick.step > 0 else -1] for pick in picks)
    turned = tuple(slice(None, None, 1 if pick.step > 0 else -1) for pick in picks[:-1])
    np.testing.assert_array_equal(Part(Kept(values), forwards)[key], expected[turned][key])
    rows = np.array(data.draw(st.lists(st.integers(0, shape[0] - 1))), dtype=int)
    key = data.draw(hnp.basic_indices((rows.size, *shape[1:]), allow_ellipsis=False))
    np.testing.assert_array_equal(Picked(Kept(values), rows)[key], values[rows][key])


@given(st.data(), st.booleans())
def test_columns_of_pixels_are_unfolded_as_matlab_lays_them(data, first):
    movie = numbers((5, 3, 4))  # (time, y, x)
    flat = movie.transpose(0, 2, 1).reshape(5, 12)
    source, expected = (flat.T, movie.transpose(2, 1, 0)) if first else (flat, movie.transpose(0, 2, 1))
    key = data.draw(hnp.basic_indices(expected.shape))
    np.testing.assert_array_equal(Unfolded(Kept(source), 0 if first else 1, (3, 4))[key], expected[key])


def test_it_is_an_array_to_numpy_and_to_xarray():
    values = numbers((4, 3, 2))
    array = Kept(values)
    assert array.ndim == 3
    np.testing.assert_array_equal(np.asarray(array), values)
    np.testing.assert_array_equal(lazy(("time", "y", "x"), array)[::-2, 1, [1, 0]].values, values[::-2, 1, [1, 0]])


@pytest.mark.parametrize("key", [(0, 0, 0), (slice(None), [0, 1]), 7, (slice(None), -4)])
def test_what_does_not_fit_is_refused(key):
    with pytest.raises(IndexError):
        Kept(numbers((4, 3)))[key]
