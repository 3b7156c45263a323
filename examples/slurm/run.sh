#!/usr/bin/env bash
# A whole pipeline on SLURM, from the login node, at most a hundred jobs at a time; does all that can be done:
#   bash examples/slurm/run.sh OUT RECORDING.zarr...
# From another terminal: neurodyn status OUT. Typed again after anything at all, it goes on where it was.
set -eu
out=$1
shift
here=$(dirname "$0")
exec neurodyn run "${PIPELINE:-many-sessions}" "$@" -o "$out" --slurm -j 100 --profile "$here/profile.yaml"
