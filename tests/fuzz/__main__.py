"""Fuzz readers for a time: `uv run python -m tests.fuzz --minutes 4 -o findings [READER...]`."""

import argparse
import collections
import json
import re
import shutil
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.fuzz.harness import FINE, Worker, options_of, trial
from tests.fuzz.sources import SOURCES


def fuzz(reader: str, seconds: float, seed: int, findings: Path) -> dict[str, int]:
    """Read damaged sources of one reader until the time is over; keep one example of every different finding."""
    counts: collections.Counter[str] = collections.Counter()
    seen, number = set(), 0
    worker = Worker()
    with TemporaryDirectory() as place:
        cases = []
        for variant, make in SOURCES[reader].items():
            (folder := Path(place) / "whole" / variant).mkdir(parents=True)
            path = make(folder)
            for options in options_of(reader, variant):
                worker.warm_up(reader, path, options)
                cases.append((variant, path, options))
        worker.read(reader, cases[0][1], cases[0][2])  # start it
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            variant, path, options = cases[number % len(cases)]
            own = f"{seed}-{number}"
            kind, text, copy = trial(worker, reader, path, options, Random(own), Path(place) / "damaged")
            number += 1
            counts[kind] += 1
            if kind not in FINE and (what := _signature(kind, text)) not in seen:
                seen.add(what)
                kept = findings / f"{reader}-{variant}-{own}-{kind}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(copy.parent, kept)
                (kept / "finding.txt").write_text(f"{options}\n{kind}\n{text}")
    worker.close()
    return dict(counts)


def _signature(kind: str, text: str) -> str:
    if kind in ("crash", "hang"):
        return kind
    places = re.findall(r'File ".*?(\w+/\w+\.py)", line (\d+)', text)[-2:]
    return f"{kind} {places} {text.strip().splitlines()[-1].split(':')[0]}"


def main() -> None:
    """Fuzz each reader in turn and print one line of counts for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", default=[*SOURCES])
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", type=Path, default=Path("fuzz-findings"))
    asked = parser.parse_args()
    for reader in asked.readers:
        counts = fuzz(reader, 60 * asked.minutes, asked.seed, asked.o)
        line = {"reader": reader, "minutes": asked.minutes, "seed": asked.seed} | counts
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
