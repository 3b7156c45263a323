"""`python -m neurodyn.cli.warm SOCKET VERB…`: the process that forks a pipeline's jobs; `neurodyn run` starts it."""

from __future__ import annotations

import socket
import sys

from neurodyn.core.processor import keep_freed_memory, use_wide_vectors

NEEDED = {
    "simulate": ("neurodyn.simulate.trials",),
    "train": ("neurodyn.training.fit", "torch._dynamo"),
    "infer": ("neurodyn.training.infer",),
    "impute": ("neurodyn.training.impute",),
    "decode": ("neurodyn.decode.run", "sklearn.linear_model"),
    "evaluate": ("neurodyn.evaluate.run",),
    "compare": ("neurodyn.report.compare",),
    "report": ("neurodyn.report.page",),
    "preprocess": ("neurodyn.preprocess.chain",),
}
ALWAYS = ("neurodyn.cli.app", "rich.logging", "neurodyn.data.recording")


def main(listener: int, verbs: list[str]) -> None:
    """Import what these verbs need, then answer on a socket that was handed down."""
    use_wide_vectors()
    keep_freed_memory()
    from neurodyn.cli.app import main as run
    from neurodyn.workflow.warm import serve

    serve(
        socket.socket(fileno=listener), [*ALWAYS, *(module for verb in verbs for module in NEEDED.get(verb, ()))], run
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
