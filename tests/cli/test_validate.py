"""`neurodyn validate` names every fault at once."""

import json

import numpy as np

from neurodyn.readers.nwb.writing import write_nwb
from tests.preprocess.faulty import RNG, broken, sound


def test_recordings(neurodyn, tmp_path):
    good = sound().save(tmp_path / "good.zarr")
    done = neurodyn("validate", good)
    assert (done.code, done.out) == (0, "No fault was found.\n")
    done = neurodyn("validate", broken(tmp_path / "a.zarr"), "--json")
    assert done.code == 3 and json.loads(done.out)["errors"] == 3 and "has 3 error(s)" in done.err
    warned = sound(indicator="unknown").save(tmp_path / "warned.zarr")
    assert neurodyn("validate", warned).code == 0


def test_other_sources(neurodyn, tmp_path):
    np.save(tmp_path / "a.npy", RNG.normal(size=(90, 3)))
    done = neurodyn("validate", tmp_path / "a.npy")
    assert done.code == 3 and "It has to be told: --fs HZ" in done.out
    assert neurodyn("validate", tmp_path / "a.npy", "--fs", "30").code == 0
    assert neurodyn("validate", write_nwb(sound(), tmp_path / "a.nwb")).out == "No fault was found.\n"
