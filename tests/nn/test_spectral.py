"""Spectral convolutions against the Fourier transform written out."""

import numpy as np
import pytest
import torch

from neurodyn.nn.spectral import FourierLayers, SpectralConvolution, coordinates


def written_out(layer: SpectralConvolution, x: np.ndarray, grid: tuple[int, int], kept: list[tuple[int, int]]):
    """Sum over kept frequencies; those that a half spectrum leaves out are the conjugates of those it has."""
    rows, columns = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
    weight = layer.weight.detach().double().numpy()
    out = np.zeros((x.shape[0], weight.shape[1], *grid))
    for number, (k, m) in enumerate(kept):
        wave = np.exp(2j * np.pi * (k * rows / grid[0] + m * columns / grid[1]))
        coefficient = (x * wave.conj()).sum((-2, -1))
        matrix = weight[:, :, number, 0] + 1j * weight[:, :, number, 1]
        twice = 1 if m == 0 or 2 * m == grid[1] else 2
        out += twice * ((coefficient @ matrix)[..., None, None] * wave).real / (grid[0] * grid[1])
    return out


@pytest.mark.parametrize(
    ("grid", "modes", "kept"),
    [
        ((6, 7), (2, 3), [(k, m) for k in (0, 1, -2, -1) for m in range(3)]),
        ((5, 4), (9, 9), [(k, m) for k in (0, 1, 2, -2, -1) for m in range(3)]),
        ((1, 8), (3, 2), [(0, 0), (0, 1)]),
    ],
)
def test_it_is_a_product_of_fourier_coefficients(grid, modes, kept):
    torch.manual_seed(0)
    layer = SpectralConvolution(2, 3, grid, modes)
    assert layer.weight.shape == (2, 3, len(kept), 2)
    x = torch.randn(2, 2, *grid)
    expected = written_out(layer, x.double().numpy(), grid, kept)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("grid", [(6, 8), (4, 6, 5)])
def test_fourier_layers_commute_with_translations(grid):
    torch.manual_seed(0)
    layers = FourierLayers(3, 2, grid, (2,) * len(grid))
    x, shift = torch.randn(2, 3, *grid), tuple(range(1, len(grid) + 1))
    dims = tuple(range(2, 2 + len(grid)))
    torch.testing.assert_close(layers(x.roll(shift, dims)), layers(x).roll(shift, dims), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(layers(x.flip(-1)), layers(x).flip(-1), atol=1e-2)


def test_coordinates_are_pixel_centres():
    rows, columns = coordinates(2, 4)
    torch.testing.assert_close(rows[:, 0], torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(columns[1], torch.tensor([0.125, 0.375, 0.625, 0.875]))
