"""PyTorch's agents beside TensorFlow: what a torch with Triton would load is kept out."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ENDED = 3
ADAM = "import torch; torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])"
KEPT_OUT = "from donkey_rl.experiments import stock_agents; stock_agents.without_triton(); "


@pytest.mark.parametrize(("before", "code"), [("", ENDED), (KEPT_OUT, 0)])
def test_an_optimiser_loads_triton_unless_it_is_kept_out(
    tmp_path: pathlib.Path, before: str, code: int
) -> None:
    """A Triton that ends the process, as the real one does after TensorFlow."""
    folder = tmp_path / "triton"
    folder.mkdir()
    (folder / "__init__.py").write_text(f"import os\nos._exit({ENDED})\n", encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    }
    ended = subprocess.run([sys.executable, "-c", before + ADAM], env=environment, check=False)
    assert ended.returncode == code
