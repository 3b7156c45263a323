"""Points between the frames, and maps of attention upsampled to them."""

import numpy as np
import torch
from scipy.interpolate import RegularGridInterpolator

from neurodyn.backends.batch import Batch
from neurodyn.training.attention import upsampled, with_points


def test_points_are_inserted_in_order_of_time():
    x = torch.arange(8.0).reshape(2, 4, 1)
    t = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(2, -1)
    seen = torch.ones(x.shape, dtype=torch.bool)
    batch = Batch(x, t, seen, seen, torch.zeros(2, dtype=torch.long))
    whole, extra = with_points(batch, torch.tensor([0.5, 2.5]), torch.tensor([[[10.0], [20.0]], [[30.0], [40.0]]]))
    np.testing.assert_array_equal(whole.t[0], [0, 0.5, 1, 2, 2.5, 3])
    np.testing.assert_array_equal(whole.x[..., 0], [[0, 10, 1, 2, 20, 3], [4, 30, 5, 6, 40, 7]])
    np.testing.assert_array_equal(extra[1], [False, True, False, False, True, False])


def test_upsampled_maps_are_scipys_and_their_rows_sum_to_one():
    rng = torch.Generator().manual_seed(0)
    t = torch.tensor([0.0, 0.3, 1.0])
    wanted = torch.tensor([0.0, 0.1, 0.3, 0.7, 1.0])
    maps = torch.rand(1, 6, 6, generator=rng).softmax(-1)
    fine = upsampled(maps, t[None], wanted[None], sites=2).unflatten(1, (5, 2)).unflatten(3, (5, 2))[0]
    coarse = maps.unflatten(1, (3, 2)).unflatten(3, (3, 2))[0]
    grid = np.stack(np.meshgrid(wanted, wanted, indexing="ij"), -1)
    expected = np.stack(
        [[RegularGridInterpolator((t, t), coarse[:, i, :, j].numpy())(grid) for j in range(2)] for i in range(2)]
    )  # site, site, time, time
    expected = np.moveaxis(expected, (0, 1, 2, 3), (1, 3, 0, 2))
    expected /= expected.sum((2, 3), keepdims=True)
    np.testing.assert_allclose(fine, expected, rtol=1e-5)
