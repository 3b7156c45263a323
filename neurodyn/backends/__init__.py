"""Models behind one contract; one file per model."""

from neurodyn.core.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "ar_lstm": "neurodyn.backends.forecasting.ar_lstm:ARLSTM",
        "autoformer": "neurodyn.backends.forecasting.autoformer:Autoformer",
        "calfads": "neurodyn.backends.calfads:CaLFADS",
        "convgru": "neurodyn.backends.baselines.convgru:ConvGRU",
        "convlstm": "neurodyn.backends.baselines.convlstm:ConvLSTM",
        "crossformer": "neurodyn.backends.forecasting.crossformer:Crossformer",
        "cst": "neurodyn.backends.cst:CST",
        "dlinear": "neurodyn.backends.forecasting.linear_maps:DLinear",
        "fno2d": "neurodyn.backends.baselines.fno2d:FNO2D",
        "fno3d": "neurodyn.backends.baselines.fno3d:FNO3D",
        "informer": "neurodyn.backends.forecasting.informer:Informer",
        "latent_ode": "neurodyn.backends.baselines.latent_ode:LatentODE",
        "lfads": "neurodyn.backends.lfads:LFADS",
        "linear": "neurodyn.backends.baselines.linear:Linear",
        "lstm": "neurodyn.backends.baselines.lstm:LSTM",
        "nlinear": "neurodyn.backends.forecasting.linear_maps:NLinear",
        "patchtst": "neurodyn.backends.forecasting.patchtst:PatchTST",
        "pca": "neurodyn.backends.pca:PCA",
        "persistence": "neurodyn.backends.baselines.persistence:Persistence",
        "psth": "neurodyn.backends.forecasting.naive:PSTH",
        "quantformer": "neurodyn.backends.quantformer:QuantFormer",
        "ridge_ar": "neurodyn.backends.forecasting.ridge_ar:RidgeAR",
        "source_mean": "neurodyn.backends.forecasting.naive:SourceMean",
        "spline": "neurodyn.backends.baselines.spline:Spline",
        "transformer": "neurodyn.backends.baselines.transformer:Transformer",
        "vit3d": "neurodyn.backends.baselines.vit3d:ViT3D",
        "vivit": "neurodyn.backends.baselines.vivit:ViViT",
    },
    "neurodyn.backends",
)
