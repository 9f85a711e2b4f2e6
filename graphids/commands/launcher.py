"""Variables in which launchers number the processes of a job, before Lightning reads them."""

from collections.abc import Mapping

from graphids.options import OptionError

# torchrun's, SLURM's and LSF's. Lightning turns some of them into numbers when it is imported.
_NUMBERS = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NTASKS",
    "JSM_NAMESPACE_RANK",
    "JSM_NAMESPACE_LOCAL_RANK",
    "JSM_NAMESPACE_SIZE",
)


def require_numbers(environ: Mapping[str, str]) -> None:
    """Refuse a rank that is not a number.

    Raises:
        OptionError: In one line; it names the variable.
    """
    for name in _NUMBERS:
        value = environ.get(name, "0")
        try:
            int(value)
        except ValueError:
            raise OptionError(
                f"{name}: given {value!r}, expected the integer that a launcher (torchrun, srun, jsrun) sets; unset "
                "what was left behind, or let the launcher set it."
            ) from None
