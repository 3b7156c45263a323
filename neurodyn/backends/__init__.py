"""Models behind one contract; one file per model."""

from neurodyn.core.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "calfads": "neurodyn.backends.calfads:CaLFADS",
        "convgru": "neurodyn.backends.baselines.convgru:ConvGRU",
        "convlstm": "neurodyn.backends.baselines.convlstm:ConvLSTM",
        "cst": "neurodyn.backends.cst:CST",
        "fno2d": "neurodyn.backends.baselines.fno2d:FNO2D",
        "fno3d": "neurodyn.backends.baselines.fno3d:FNO3D",
        "latent_ode": "neurodyn.backends.baselines.latent_ode:LatentODE",
        "lfads": "neurodyn.backends.lfads:LFADS",
        "linear": "neurodyn.backends.baselines.linear:Linear",
        "lstm": "neurodyn.backends.baselines.lstm:LSTM",
        "pca": "neurodyn.backends.pca:PCA",
        "persistence": "neurodyn.backends.baselines.persistence:Persistence",
        "spline": "neurodyn.backends.baselines.spline:Spline",
        "transformer": "neurodyn.backends.baselines.transformer:Transformer",
        "vit3d": "neurodyn.backends.baselines.vit3d:ViT3D",
        "vivit": "neurodyn.backends.baselines.vivit:ViViT",
    },
    "neurodyn.backends",
)
