"""Runs pytest with ASSAY_RUNNER=ray on a cluster of three machines with a core each: python -m tests.cluster tests/api.

The machines are raylets on this one, with free ports, and end with the run.
"""

import os
import subprocess
import sys
from typing import Any

NODE = {"num_cpus": 1, "object_store_memory": 200 << 20, "include_dashboard": False}


def start(num_nodes: int) -> Any:
    from ray.cluster_utils import Cluster  # not everybody who collects tests has the extra

    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    for _ in range(num_nodes - 1):
        cluster.add_node(**NODE)
    return cluster


def main(arguments: list[str]) -> int:
    cluster = start(3)
    try:
        environment = os.environ | {"ASSAY_RUNNER": "ray", "RAY_ADDRESS": cluster.address}
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment).returncode
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
