"""Decoders, one per file, and the one protocol that scores them."""

from neurodyn.core.registry import Registry

DECODERS = Registry(
    "decoder",
    {
        "knn": "neurodyn.decode.knn:KNN",
        "ridge": "neurodyn.decode.ridge:Ridge",
        "lda": "neurodyn.decode.lda:LDA",
        "gru": "neurodyn.decode.gru:GRU",
        "logistic": "neurodyn.decode.logistic:Logistic",
    },
    "neurodyn.decoders",
)
