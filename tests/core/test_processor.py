"""Wide vectors are asked for on AMD processors that have them, and nowhere else."""

import os

import pytest

from neurodyn.core import processor

AMD = "vendor_id : AuthenticAMD\nflags : fma avx2 avx512f avx512dq avx512bw avx512vl\n"


@pytest.mark.parametrize(
    ("text", "chosen", "expected"),
    [
        (AMD, None, "SkylakeX"),
        (AMD, "Haswell", "Haswell"),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), None, None),
        (AMD.replace(" avx512bw", ""), None, None),
        (None, None, None),
    ],
)
def test_the_environment_says_which_code_openblas_takes(tmp_path, monkeypatch, text, chosen, expected):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    environment = {"OPENBLAS_CORETYPE": chosen} if chosen else {}
    monkeypatch.setattr(os, "environ", environment)
    processor.use_wide_vectors()
    assert environment.get("OPENBLAS_CORETYPE") == expected
