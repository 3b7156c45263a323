"""The same cells over days, on many simulated mice."""

import numpy as np
import pytest

from neurodyn.tracking.align import align
from neurodyn.tracking.field import fields_of
from neurodyn.tracking.sessions import track
from tests.tracking.simulated import Day, mouse, session, week
from tests.tracking.test_track import precision_and_recall

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_five_days_of_many_mice():
    """Days turned by up to 3 degrees, shifted by 12 pixels, 30 % of the cells unseen on each; crowded fields, too."""
    scores = []
    for seed in range(10, 16):
        for more in ({}, {"mean": False}, {"jitter": 1.5, "count": 250}):
            recordings, seen = week(seed, **more)
            tracked = track(recordings)
            scores.append((*precision_and_recall(tracked, seen), tracked.false_positives))
            print(seed, more, "precision {:.3f} recall {:.3f} expected false {:.3f}".format(*scores[-1]))
    precision, recall, expected = np.array(scores).T
    assert precision.min() >= 0.95 and recall.min() >= 0.9
    assert abs(expected.mean() - (1 - precision).mean()) < 0.03


def test_shuffled_fields_match_nothing():
    for seed in range(20, 30):
        for more in ({}, {"mean": False}, {"count": 250}):
            count = {key: value for key, value in more.items() if key == "count"}
            day = Day(**{key: value for key, value in more.items() if key != "count"})
            recordings = [session(mouse(s, **count), day, 1)[0] for s in (seed, seed + 100)]
            found = align(*fields_of(recordings))
            print(seed, more, f"likeness {found.likeness:.3f}, of mirror images {found.mirrored:.3f}")
            assert not found.believed


def test_one_field_is_always_recognised():
    ratios = []
    for seed in range(40, 60):
        field = mouse(seed)
        day = Day(angle=3.0, shift=(12, -12), mean=bool(seed % 2))
        found = align(*fields_of([session(field, Day(mean=day.mean), 1)[0], session(field, day, 2)[0]]))
        ratios.append(found.likeness / found.mirrored)
        assert found.believed and found.angle == pytest.approx(3.0, abs=0.7)
    print(f"likeness over that of mirror images: least {min(ratios):.2f}")
