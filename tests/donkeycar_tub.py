"""What donkeycar itself reads and writes; run as a program, since donkeycar prints and logs.

python donkeycar_tub.py read TUB      prints what donkeycar's TubDataset reads, as JSON
python donkeycar_tub.py write TUB     writes a tub with donkeycar's Tub
python donkeycar_tub.py append TUB    adds a record to one, and deletes its first
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from typing import Any

import numpy as np

RECORDS = 23


def main(verb: str, folder: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        from donkeycar.config import Config
        from donkeycar.parts.tub_v2 import Tub
        from donkeycar.pipeline.types import TubDataset

        result: Any = None
        if verb == "read":
            result = read(Config(), TubDataset, folder)
        elif verb == "write":
            write(Tub, folder)
        else:
            append(Tub, folder)
    sys.stdout.write(json.dumps(result))


def read(config: Any, dataset: Any, folder: str) -> dict[str, Any]:
    config.IMAGE_W, config.IMAGE_H, config.IMAGE_DEPTH = 16, 12, 3
    opened = dataset(config, [folder])
    records = opened.get_records()
    (tub,) = opened.tubs
    result = {
        "length": len(tub),
        "inputs": tub.manifest.inputs,
        "types": tub.manifest.types,
        "metadata": tub.manifest.metadata,
        "sessions": tub.manifest.manifest_metadata.get("sessions"),
        "deleted": sorted(tub.manifest.deleted_indexes),
        "next": tub.manifest.current_index,
        "records": [record.underlying for record in records],
        "images": [
            hashlib.sha256(record.image().tobytes()).hexdigest()
            for record in records
            if "cam/image_array" in record.underlying
        ],
    }
    opened.close()
    return result


def write(tub: Any, folder: str) -> None:
    kinds = {
        "cam/image_array": "image_array", "user/angle": "float", "user/throttle": "float",
        "user/mode": "str", "imu/acl_x": "float", "my/list": "list", "my/array": "nparray",
        "my/flag": "boolean", "my/vector": "vector", "my/count": "int",
    }  # fmt: skip
    opened = tub(folder, list(kinds), list(kinds.values()), ["location:club"], max_catalog_len=10)
    random = np.random.default_rng(0)
    for k in range(RECORDS):
        opened.write_record(
            {
                "cam/image_array": random.integers(0, 255, (12, 16, 3)),
                "user/angle": np.float32(0.1 * k - 1.0), "user/throttle": 0.25,
                "user/mode": "user", "imu/acl_x": 1e-7 * k, "my/list": [k, "ä"],
                "my/array": np.array([k, 0.5]), "my/flag": k % 2 == 0, "my/vector": (1.0, 2.0),
                "my/count": k, "not/listed": 1,
            }
        )  # fmt: skip
    opened.delete_records({2, 3, 12})
    opened.close()


def append(tub: Any, folder: str) -> None:
    opened = tub(folder)
    opened.write_record({"user/angle": 0.5, "user/throttle": 0.1, "user/mode": "user"})
    opened.delete_records(0)
    opened.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
