"""The embedded simulator: physics, cameras, tracks and time over arrays of cars."""

import pathlib

from donkey_rl.envs.simulator import kernel_cache


def _drop_stale_machine_code(folder: pathlib.Path) -> None:
    """Deletes compiled kernels that are older than any source of this package.

    Numba keeps a kernel as long as its own file is unchanged, even if what it calls in another
    file has changed, as after a pull.
    """
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for compiled in (folder / "__pycache__").glob("*.nb?"):
        try:
            if compiled.stat().st_mtime < newest:
                compiled.unlink(missing_ok=True)
        except OSError:
            # Another process was quicker, or the folder is not ours: Numba then decides alone.
            continue


_drop_stale_machine_code(pathlib.Path(__file__).parent)
kernel_cache.prepare(pathlib.Path(__file__).parent)
