"""Models behind one contract; one file per model."""

from typing import Any

from neurodyn.core.registry import Registry

BACKENDS = Registry(
    "backend",
    {
        "ar_lstm": "neurodyn.backends.forecasting.ar_lstm:ARLSTM",
        "atmorep": "neurodyn.backends.atmorep:AtmoRep",
        "autoformer": "neurodyn.backends.forecasting.autoformer:Autoformer",
        "autoformer_classifier": "neurodyn.backends.classification.forecasters:AutoformerClassifier",
        "blind_spot": "neurodyn.backends.blind_spot:BlindSpot",
        "brainlm": "neurodyn.backends.forecasting.brainlm:BrainLM",
        "calfads": "neurodyn.backends.calfads:CaLFADS",
        "cebra": "neurodyn.backends.cebra:CEBRA",
        "climanet": "neurodyn.backends.climanet:ClimaNet",
        "convgru": "neurodyn.backends.baselines.convgru:ConvGRU",
        "convlstm": "neurodyn.backends.baselines.convlstm:ConvLSTM",
        "crossformer": "neurodyn.backends.forecasting.crossformer:Crossformer",
        "crossformer_classifier": "neurodyn.backends.classification.forecasters:CrossformerClassifier",
        "cst": "neurodyn.backends.cst:CST",
        "dlinear": "neurodyn.backends.forecasting.linear_maps:DLinear",
        "factor_dynamics": "neurodyn.backends.factor_dynamics:FactorDynamics",
        "fno2d": "neurodyn.backends.baselines.fno:FNO2D",
        "fno3d": "neurodyn.backends.baselines.fno:FNO3D",
        "informer": "neurodyn.backends.forecasting.informer:Informer",
        "informer_classifier": "neurodyn.backends.classification.forecasters:InformerClassifier",
        "latent_ode": "neurodyn.backends.baselines.latent_ode:LatentODE",
        "lfads": "neurodyn.backends.lfads:LFADS",
        "logistic_response": "neurodyn.backends.classification.logistic:LogisticResponse",
        "linear": "neurodyn.backends.baselines.between_frames:Linear",
        "lstm": "neurodyn.backends.baselines.lstm:LSTM",
        "lstm_response": "neurodyn.backends.classification.lstm_response:LSTMResponse",
        "nlinear": "neurodyn.backends.forecasting.linear_maps:NLinear",
        "patchtst": "neurodyn.backends.forecasting.patchtst:PatchTST",
        "pca": "neurodyn.backends.pca:PCA",
        "persistence": "neurodyn.backends.baselines.between_frames:Persistence",
        "psth": "neurodyn.backends.forecasting.naive:PSTH",
        "quantformer": "neurodyn.backends.quantformer:QuantFormer",
        "quantformer_classifier": "neurodyn.backends.classification.quantformer_classifier:QuantFormerClassifier",
        "reduced_rank": "neurodyn.backends.reduced_rank:ReducedRank",
        "response_rate": "neurodyn.backends.classification.response_rate:ResponseRate",
        "ridge": "neurodyn.backends.forecasting.ridge:Ridge",
        "ridge_ar": "neurodyn.backends.forecasting.ridge_ar:RidgeAR",
        "source_mean": "neurodyn.backends.forecasting.naive:SourceMean",
        "spline": "neurodyn.backends.baselines.spline:Spline",
        "svd": "neurodyn.backends.baselines.svd:SVD",
        "transformer": "neurodyn.backends.baselines.transformer:Transformer",
        "vit3d": "neurodyn.backends.baselines.vit3d:ViT3D",
        "vivit": "neurodyn.backends.baselines.vivit:ViViT",
    },
    "neurodyn.backends",
)
# Told apart from the models, so that settings and data can be checked without torch, which takes seconds to import.
CONFIGS = Registry(
    "backend",
    {
        "ar_lstm": "neurodyn.backends.settings.forecasting:ARLSTMConfig",
        "atmorep": "neurodyn.backends.settings.atmorep:AtmoRepConfig",
        "autoformer": "neurodyn.backends.settings.forecasting:AutoformerConfig",
        "autoformer_classifier": "neurodyn.backends.settings.classification:AutoformerClassifierConfig",
        "blind_spot": "neurodyn.backends.settings.blind_spot:BlindSpotConfig",
        "brainlm": "neurodyn.backends.settings.forecasting:BrainLMConfig",
        "calfads": "neurodyn.backends.settings.dynamics:CaLFADSConfig",
        "cebra": "neurodyn.backends.settings.cebra:CEBRAConfig",
        "climanet": "neurodyn.backends.settings.climanet:ClimaNetConfig",
        "convgru": "neurodyn.backends.settings.movies:ConvGRUConfig",
        "convlstm": "neurodyn.backends.settings.movies:ConvLSTMConfig",
        "crossformer": "neurodyn.backends.settings.forecasting:CrossformerConfig",
        "crossformer_classifier": "neurodyn.backends.settings.classification:CrossformerClassifierConfig",
        "cst": "neurodyn.backends.settings.cst:CSTConfig",
        "dlinear": "neurodyn.backends.settings.forecasting:DLinearConfig",
        "factor_dynamics": "neurodyn.backends.settings.dynamics:FactorDynamicsConfig",
        "fno2d": "neurodyn.backends.settings.movies:FNO2DConfig",
        "fno3d": "neurodyn.backends.settings.movies:FNO3DConfig",
        "informer": "neurodyn.backends.settings.forecasting:InformerConfig",
        "informer_classifier": "neurodyn.backends.settings.classification:InformerClassifierConfig",
        "latent_ode": "neurodyn.backends.settings.movies:LatentODEConfig",
        "lfads": "neurodyn.backends.settings.dynamics:LFADSConfig",
        "logistic_response": "neurodyn.backends.settings.classification:ClassifierConfig",
        "linear": "neurodyn.backends.settings.interpolation:InterpolatorConfig",
        "lstm": "neurodyn.backends.settings.movies:LSTMConfig",
        "lstm_response": "neurodyn.backends.settings.classification:LSTMResponseConfig",
        "nlinear": "neurodyn.backends.settings.forecasting:LinearMapConfig",
        "patchtst": "neurodyn.backends.settings.forecasting:PatchTSTConfig",
        "pca": "neurodyn.backends.settings.interpolation:PCAConfig",
        "persistence": "neurodyn.backends.settings.interpolation:InterpolatorConfig",
        "psth": "neurodyn.backends.settings.forecasting:UntrainedConfig",
        "quantformer": "neurodyn.backends.settings.vocabulary:QuantFormerConfig",
        "quantformer_classifier": "neurodyn.backends.settings.vocabulary:QuantFormerClassifierConfig",
        "reduced_rank": "neurodyn.backends.settings.interpolation:ReducedRankConfig",
        "response_rate": "neurodyn.backends.settings.classification:ResponseRateConfig",
        "ridge": "neurodyn.backends.settings.forecasting:RidgeConfig",
        "ridge_ar": "neurodyn.backends.settings.forecasting:RidgeARConfig",
        "source_mean": "neurodyn.backends.settings.forecasting:UntrainedConfig",
        "spline": "neurodyn.backends.settings.interpolation:SplineConfig",
        "svd": "neurodyn.backends.settings.interpolation:SVDConfig",
        "transformer": "neurodyn.backends.settings.movies:TransformerConfig",
        "vit3d": "neurodyn.backends.settings.movies:ViT3DConfig",
        "vivit": "neurodyn.backends.settings.movies:ViViTConfig",
    },
    "neurodyn.backends",
)


def config_class(name: str) -> Any:
    """Return a back-end's `Config`, without its model where it stands apart.

    Raises
    ------
    UnknownNameError
        If there is no such back-end.
    """
    return CONFIGS.get(name) if name in CONFIGS.own else BACKENDS.get(name).Config
