"""A latent model below factor analysis: exit code 0, told on the console, and of use to the commands after it."""

import json

import numpy as np

from neurodyn.data.recording import Recording

SETTINGS = (
    "windows={variable: dff, duration: 1, blocks: 2, gap: 0}",
    "model={likelihood: gaussian, samples: 4, factors: 2}",
    "training={epochs: 1, steps_per_epoch: 4, warmup: 2}",
)


def test_an_unhealthy_model_is_told_and_used(neurodyn, tmp_path):
    rng = np.random.default_rng(0)
    slow = np.cumsum(rng.normal(size=(2000, 2)), axis=0) / 10
    values = np.sin(slow) @ rng.normal(size=(2, 12)) + 0.3 * rng.normal(size=(2000, 12))
    start = np.arange(2.0, 195.0, 5.0)
    stimulus = {"start": start, "stop": start + 2, "contrast": np.resize([0.1, 0.5, 1.0], start.size)}
    recording = Recording.from_arrays({"dff": values.astype(np.float32)}, rate_hz=10, stimulus=stimulus)
    recording.save(tmp_path / "shared.zarr")
    run, sets = tmp_path / "run", [word for item in SETTINGS for word in ("--set", item)]

    made = neurodyn("train", "lfads", tmp_path / "shared.zarr", "--gpu", "none", "--json", *sets, "-o", run)
    assert made.code == 0 and json.loads(made.out)["status"] == "unhealthy"
    assert "Unhealthy" in made.err
    told = neurodyn("status", run)
    assert told.code == 0 and told.out.startswith("train  unhealthy") and "below factor analysis" in told.out
    row = json.loads(neurodyn("status", run, "--json").out)["jobs"][0]
    assert row["status"] == "unhealthy" and row["cosmoothing"]["cells"] == 12
    assert neurodyn("train", "lfads", tmp_path / "shared.zarr", "--gpu", "none", *sets, "-o", run).code == 0

    assert neurodyn("infer", run, "--gpu", "none").code == 0
    decoded = neurodyn("decode", run, "--target", "contrast", "--set", "shuffles=0", "--set", "features=[latents]")
    assert decoded.code == 0, decoded.err
    scored = neurodyn("evaluate", run, "--metric", "cosmoothing", "--set", "groups=2", "-o", tmp_path / "scores")
    assert scored.code == 0, scored.err
    assert neurodyn("report", run, "-o", tmp_path / "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    assert page.index("Unhealthy: Hidden cells") < page.index("Training ended")
