#!/usr/bin/env bash
# Recordings several at a time, on this machine: JOBS=4 bash examples/slurm/xargs.sh OUT RECORDING.zarr...
# xargs exits with 123 if any of them failed; the log of each lies beside its run.
set -u
export OUT=$1 MODEL=${MODEL:-pca} GPU=${GPU:-auto}
shift
mkdir -p "$OUT"
printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-2}" bash -c '
  name=$(basename "$1" .zarr)
  neurodyn train "$MODEL" "$1" --gpu "$GPU" -o "$OUT/$name" 2> "$OUT/$name.log" || exit 1
' neurodyn
