"""Wide vectors are asked for on AMD processors that have them; freed memory is kept."""

import os
import platform
import subprocess
import sys

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


FAULTS = """
import resource, sys
import numpy as np
from neurodyn.core.processor import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    return len([np.full(2**19, k, np.float32) for k in range(40)])
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_freed_memory_is_used_again():
    def faults(what):
        done = subprocess.run([sys.executable, "-c", FAULTS, what], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") * 10 < faults("as ever")
