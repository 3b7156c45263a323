"""Read damaged sources as `neurodyn inspect`, `validate` and `convert` do, in a process that may die of it.

One line of JSON in: [reader, path, options]; one line out: [kind, text], kind one of ok, said, memory, fault.
"""

import json
import logging
import resource
import shutil
import sys
import traceback
import warnings
from pathlib import Path

MEMORY = 1536 * 2**20
LARGEST = 4 * 2**20  # bytes of a recording that are written; of a larger one its ends are looked at


def look(reader: str, path: Path, options: dict) -> None:
    """Do with a source what the commands do that read it."""
    from neurodyn.cli.common import ingest
    from neurodyn.cli.inspect import describe
    from neurodyn.preprocess.faults import faults, faults_of_folder
    from neurodyn.readers.containers.hdf5_heaps import check_heaps
    from neurodyn.readers.options import ReadOptions
    from neurodyn.readers.read import READERS
    from neurodyn.readers.survey import survey

    if path.is_file():
        check_heaps(path)  # as `find_reader` does, before it asks one after the other
    for name in READERS.names():
        READERS.get(name).recognises(path)
    chosen = ReadOptions(**options)
    describe(survey(path, chosen, reader), path, [])
    recording = ingest(path, chosen, reader)
    if sum(array.nbytes for array in recording.neural.data_vars.values()) > LARGEST:
        for name in recording.variables:
            _ = recording[name][:2].values, recording[name][-1].values
        return
    faults_of_folder(path) if reader == "recording" else faults(recording)
    recording.save(path.parent / "saved" / "saved.zarr")


def outcome(reader: str, path: Path, options: dict) -> tuple[str, str]:
    """Look at a source and say how it went."""
    from neurodyn.core.errors import NeurodynError

    try:
        look(reader, path, options)
    except NeurodynError as error:
        lines = (error.what, error.found, error.fix)
        if not all(lines) or error.exit_code == 1:
            return "fault", "".join(traceback.format_exception(error))
        return "said", " | ".join(lines)
    except MemoryError as error:
        return "memory", "".join(traceback.format_exception(error))
    except BaseException as error:
        return "fault", "".join(traceback.format_exception(error))
    finally:
        shutil.rmtree(path.parent / "saved", ignore_errors=True)
    return "ok", ""


def main() -> None:
    """Answer line by line."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    import neurodyn.cli.inspect  # noqa: F401

    answers.write(json.dumps(["ready", ""]) + "\n")
    answers.flush()
    for line in sys.stdin:
        reader, path, options = json.loads(line)
        if reader == "limit":  # after warming up
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
            result = ("ok", "")
        else:
            result = outcome(reader, Path(path), options)
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
