"""What is decoded, from what, and how it is scored."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from neurodyn.core.config import Params


class Protocol(Params):
    """Cross-validation, tuning, null and reduction, the same for every decoder."""

    split: Literal["trial", "blocked", "random"] = Field(
        "blocked", description="what never crosses training and test: whole trials, blocks of time, or nothing"
    )
    folds: int = Field(5, ge=2, description="folds")
    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="test share of each repeat, instead of folds (blocked: one stretch of trials)"
    )
    repeats: int = Field(1, ge=1, description="repeats with another division")
    gap: int = Field(1, ge=0, description="trials dropped from training on each side of a test block (split: blocked)")
    shuffles: int = Field(200, ge=0, description="label shuffles for the null")
    bootstraps: int = Field(2000, ge=100, description="bootstrap samples of trials for the interval")
    tune: bool = Field(True, description="choose the decoder's settings inside each training fold, grouped by trial")
    inner_folds: int = Field(4, ge=2, description="folds of that tuning")
    pca: int | None = Field(None, ge=1, description="components fitted inside each training fold, for every feature")
    wide: int = Field(256, ge=1, description="features wider than this are always reduced inside the training fold")
    wide_pca: int = Field(50, ge=1, description="components kept of wide features when `pca` is not given")
    seed: int = Field(0, ge=0, description="seed of divisions, shuffles and bootstraps")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split == "blocked" and self.repeats > 1 and self.test_fraction is None:
            raise ValueError("blocked folds are fixed: repeats need a test_fraction")
        return self


def paper_protocols(shuffles: int = 200, seed: int = 0) -> tuple[Protocol, Protocol]:
    """Return the published contrast protocol, and the same without neighbours of test windows in training.

    PCA to 10 components, 70/30, 10 repeats (Fonseca et al. 2023, Table 3); to be used with 3 nearest neighbours.
    """
    common = {"test_fraction": 0.3, "repeats": 10, "pca": 10, "tune": False, "shuffles": shuffles, "seed": seed}
    return Protocol(split="random", **common), Protocol(split="blocked", **common)
