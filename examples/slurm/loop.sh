#!/usr/bin/env bash
# Recordings one after another, on this machine; what fails is told at the end, the rest is done:
#   bash examples/slurm/loop.sh OUT RECORDING.zarr...
# Typed again, it skips what is done and goes on with what is not.
set -u
out=$1
shift
failed=()
for recording in "$@"; do
  name=$(basename "$recording" .zarr)
  run=$(neurodyn train "${MODEL:-pca}" "$recording" --gpu "${GPU:-auto}" -o "$out/$name") &&
    neurodyn infer "$run" >/dev/null &&
    neurodyn decode "$run" --target "${TARGET:-contrast}" || failed+=("$recording")
done
if ((${#failed[@]})); then
  printf 'Failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
