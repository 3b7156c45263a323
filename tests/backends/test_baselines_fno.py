"""FNO-3D between frames."""

import torch

from tests.backends.baselines import make, make_batch

SMALL = {"width": 4, "layers": 2, "modes": (2, 2, 2), "decoder": 8, "latent_grid": (2, 3)}


def test_frames_are_the_questions_at_their_own_times():
    model, batch = make("fno3d", **SMALL), make_batch(hide=(2, 5), irregular=True)
    order = torch.tensor([6, 0, 3])
    whole = model(batch)
    torch.testing.assert_close(model.at(batch, batch.t[:, order]), whole.mean[:, order], rtol=1e-4, atol=1e-5)
    assert whole.latents.shape == (4, 8, 24)


def test_the_read_out_knows_the_time_and_is_continuous_in_it():
    model, batch = make("fno3d", **SMALL), make_batch()
    near = model.at(batch, batch.t[:, 3:4] + torch.tensor([[-1e-4, 0.0, 1e-4, 0.05]]))
    torch.testing.assert_close(near[:, 0], near[:, 2], rtol=0, atol=2e-2)
    assert (near[:, 3] - near[:, 1]).abs().max() > 2e-2
    for parameter in model.body.parameters():
        torch.nn.init.zeros_(parameter)  # features that are the same everywhere
    still = model.at(batch, batch.t)
    inside = batch.valid[0, 0]
    assert (still[:, 1:] - still[:, :-1]).abs()[:, :, inside].min() > 0


def test_the_window_is_padded_for_the_transform_and_given_back_as_long_as_it_was():
    batch = make_batch()
    for padding in (0, 3):
        model = make("fno3d", **SMALL | {"modes": (9, 1, 1)}, padding=padding)
        assert {layer.grid for layer in model.body.global_maps} == {(8 + padding, 5, 6)}
        assert model(batch).mean.shape == batch.x.shape
