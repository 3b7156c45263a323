"""What the report says about restarts and steps back."""

import json

import numpy as np
import pytest

from neurodyn.report.blocks import Table
from neurodyn.report.collect import Folder, _curves
from neurodyn.report.model import curves_figure, stability_text
from neurodyn.report.page import report
from tests.report.fake_run import make_run, traces

EVENTS = [
    {"kind": "step back", "attempt": 0, "epoch": 2, "step": 7, "reason": "the loss is not finite at step 7"},
    {"kind": "restart", "attempt": 0, "epoch": 3, "step": 9, "reason": "the factors do not vary"},
    {"kind": "step back", "attempt": 1, "epoch": 1, "step": 1, "reason": "the loss is not finite at step 1"},
]


def test_events_become_sentences():
    assert stability_text({}) is None
    assert stability_text({"events": []}) is None
    assert stability_text({"events": EVENTS}).text == (
        "Restarted with another seed once: epoch 3, the factors do not vary. "
        "Stepped back to half the learning rate twice: epoch 2, the loss is not finite at step 7; "
        "epoch 1, the loss is not finite at step 1."
    )


@pytest.mark.usefixtures("unsaved")
def test_the_page_has_them(tmp_path):
    run = make_run(tmp_path / "run", traces())
    status = json.loads((run / "status.json").read_text()) | {"events": EVENTS}
    (run / "status.json").write_text(json.dumps(status))
    html = report([run], tmp_path / "report.html").read_text()
    assert "Restarted with another seed once: epoch 3, the factors do not vary." in html


def test_only_the_last_attempt_is_drawn():
    curves = {"epoch": np.array([1.0, 2, 1, 2]), "train_loss": np.array([9.0, 9, 2, 1])}
    marked = curves | {"attempt": np.array([0.0, 0, 1, 1])}
    alone = {name: values[2:] for name, values in curves.items()}
    assert curves_figure(marked) == curves_figure(alone)
    assert curves_figure(marked) != curves_figure(curves)
    assert curves_figure(marked | {"attempt": np.array([0.0, 0, 0, 1])}) is None


def test_the_losses_of_a_single_epoch_are_a_table(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,train_loss,valid_loss\n0,0.5,0.25\n", encoding="utf-8")
    table = _curves(Folder(tmp_path))
    assert isinstance(table, Table)
    assert ["train_loss", "0.50000"] in [list(row) for row in table.rows]
