"""Which keys KubeRay's resources have: made from its CRDs, of which it keeps names, types and choices.

    python -m tests.cluster.deployments.kuberay_keys FOLDER > tests/cluster/deployments/kuberay-v1.7.0.json

FOLDER holds ray.io_rayclusters.yaml and ray.io_rayjobs.yaml of github.com/ray-project/kuberay,
helm-chart/kuberay-operator/crds/, tag v1.7.0. The CRDs themselves stay out: 930 kB each, nearly all of it
Kubernetes' own pods, which are checked by Kubernetes' own schema.

A type is a word ("string", "quantity", "PodTemplate"), a list of one type, {"*": type} for any keys,
{"one of": [...]}, or {"keys": {name: type}}.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

# Parts that our manifests leave alone; named here, they are refused.
UNUSED = ("gcsFaultToleranceOptions", "historyServerOptions", "headService", "tlsOptions", "clusterSelector")
UNUSED += ("submitterConfig", "submitterPodTemplate", "ingressOptions", "enableIngress", "scaleStrategy")


def main(folder: Path) -> None:
    """Write the list."""
    found = {}
    for kind, file in (("RayCluster", "rayclusters"), ("RayJob", "rayjobs")):
        crd = yaml.safe_load((folder / f"ray.io_{file}.yaml").read_text())
        [version] = [one for one in crd["spec"]["versions"] if one["name"] == "v1"]
        found[kind] = short(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    sys.stdout.write(json.dumps(found, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")


def short(schema: dict[str, Any]) -> Any:
    """A CRD's schema as a type."""
    keys = schema.get("properties")
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in schema:
        return {"one of": schema["enum"]}
    if keys is not None and {*keys} == {"metadata", "spec"} and "containers" in keys["spec"]["properties"]:
        return "PodTemplate"
    if keys is not None:
        return {"keys": {name: short(one) for name, one in keys.items() if name not in UNUSED}}
    if schema.get("type") == "array":
        return [short(schema["items"])]
    if isinstance(values := schema.get("additionalProperties"), dict):
        return {"*": short(values)}
    return schema["type"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
