"""Evaluations, one per file: what is asked of recordings, of what models inferred, and of models."""

from neurodyn.core.registry import Registry

EVALUATIONS = Registry(
    "evaluation",
    {
        "spikes": "neurodyn.evaluate.spikes:Spikes",
        "cosmoothing": "neurodyn.evaluate.cosmoothing:Cosmoothing",
        "rois": "neurodyn.evaluate.rois:Rois",
        "latents": "neurodyn.evaluate.latents:Latents",
        "rotations": "neurodyn.evaluate.rotations:Rotations",
        "frames": "neurodyn.evaluate.frames:Frames",
        "imputation": "neurodyn.evaluate.imputation:Imputation",
        "forecast": "neurodyn.evaluate.forecast:Forecast",
        "responses": "neurodyn.evaluate.responses:Responses",
        "interpolation": "neurodyn.evaluate.interpolation:Interpolation",
        "attention": "neurodyn.evaluate.attention:Attention",
        "denoising": "neurodyn.evaluate.denoising:Denoising",
        "cost": "neurodyn.evaluate.cost:Cost",
    },
    "neurodyn.evaluations",
)
DEFAULT = "spikes"
