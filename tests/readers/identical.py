"""Whether two recordings are the same."""

import numpy as np

from neurodyn.data.recording import Recording


def assert_identical(again: Recording, recording: Recording) -> None:
    """Every group, variable, dimension, type, value and attribute is the same."""
    assert set(again.tree.children) == set(recording.tree.children)
    assert dict(again.tree.attrs) == dict(recording.tree.attrs)
    for group, node in recording.tree.children.items():
        one, two = node.to_dataset(inherit=False), again.tree[group].to_dataset(inherit=False)
        assert (
            set(one.variables) == set(two.variables) and set(one.coords) == set(two.coords) and one.attrs == two.attrs
        )
        for name, variable in one.variables.items():
            assert two[name].dims == variable.dims, name
            texts = variable.dtype.kind in "UOT"
            assert two[name].dtype == variable.dtype or (texts and two[name].dtype.kind == "U"), name
            again_values, values = two[name].values, variable.values
            if texts:
                assert again_values.tolist() == values.tolist(), name
            else:
                assert np.array_equal(again_values, values, equal_nan=True), name
            assert two[name].attrs == variable.attrs, name
