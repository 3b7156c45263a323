"""One self-contained page on runs, recordings and scores, and how the tables of single evaluations are drawn."""

from neurodyn.core.registry import Registry

FIGURES = Registry(
    "figure",
    {
        "forecast": "neurodyn.report.forecast:forecast_part",
        "cosmoothing": "neurodyn.report.cosmoothing:cosmoothing_part",
        "cost": "neurodyn.report.cost:cost_part",
        "imputation": "neurodyn.report.imputation:imputation_part",
        "spikes": "neurodyn.report.spikes:spikes_part",
    },
    "neurodyn.figures",
)
