"""Models behind one contract; one file per model."""

from neurodyn.core.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "calfads": "neurodyn.backends.calfads:CaLFADS",
        "cst": "neurodyn.backends.cst:CST",
        "lfads": "neurodyn.backends.lfads:LFADS",
        "pca": "neurodyn.backends.pca:PCA",
    },
    "neurodyn.backends",
)
