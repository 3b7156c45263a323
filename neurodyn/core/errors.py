"""The one exception tree: three short lines and an exit code each."""


class NeurodynError(Exception):
    """Something the user can act on; the work itself failed.

    Parameters
    ----------
    what
        What is wrong, in one line.
    found
        What was found and what was expected.
    fix
        The command or key that mends it.
    """

    exit_code = 1

    def __init__(self, what: str, found: str, fix: str) -> None:
        self.what, self.found, self.fix = what, found, fix
        super().__init__("\n".join((what, found, fix)))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.what, self.found, self.fix)


class WorkError(NeurodynError):
    """The work failed although the input and the configuration were valid (exit 1)."""


class ConfigError(NeurodynError):
    """Usage or configuration is wrong (exit 2)."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name is in no registry and in no folder (exit 2)."""


class DataError(NeurodynError):
    """Input data is missing or invalid (exit 3)."""

    exit_code = 3


NO_MEMORY = ("DefaultCPUAllocator", "out of memory", "bad_alloc", "can't start new thread", "Cannot allocate memory")


def out_of_memory(error: BaseException | None) -> BaseException | None:
    """Return what says that memory ran out, an error or what caused it: numpy, torch and the system each say it differently."""
    while error is not None:
        if isinstance(error, MemoryError):
            return error
        if isinstance(error, RuntimeError | OSError) and any(sign in str(error) for sign in NO_MEMORY):
            return error
        error = error.__cause__
    return None


class TerminatedError(KeyboardInterrupt):
    """SIGTERM came, as from a scheduler that wants the node back; it passes as Ctrl-C does (exit 143)."""
