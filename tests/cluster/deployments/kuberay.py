"""What is wrong with a manifest of KubeRay, told without a Kubernetes.

Three layers: KubeRay's own keys (kuberay_keys.py), strictly, since a server drops a key that it does not know
and says nothing; Kubernetes' own schema for everything inside a pod; and what neither sees: what the operator
refuses when it runs, and what a run needs to be safe.
"""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.cluster.deployments.findings import secrets

KEYS: Mapping[str, Any] = json.loads(Path(__file__).with_name("kuberay-v1.7.0.json").read_text())
KUBERNETES = "1.32"
# The CRD has no enum here, so that a server would take any word.
SUBMISSION = ("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode")
PLAIN = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "quantity": (str, int)}


def findings(text: str) -> list[str]:
    """What is wrong with the documents of a manifest."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = secrets(text)
    for document in documents:
        kind = document.get("kind")
        if document.get("apiVersion") != "ray.io/v1":
            found += _kubernetes(document)
        elif kind not in KEYS:
            found.append(f"kind {kind}: no resource of KubeRay's that is known here")
        else:
            # What has the wrong shape is not looked into.
            found += unlike(document["spec"], KEYS[kind], kind) or _ours(kind, document["spec"])
    return found


def unlike(value: Any, kind: Any, path: str) -> list[str]:
    """Where a value is not of a type, as kuberay_keys.py has types."""
    if kind == "PodTemplate":
        return _pod(value, path)
    if isinstance(kind, str):
        fits = isinstance(value, PLAIN[kind]) and (kind == "boolean" or not isinstance(value, bool))
        return [] if fits else [f"{path}: {value!r} is no {kind}"]
    if isinstance(kind, list):
        return [line for n, one in enumerate(value) for line in unlike(one, kind[0], f"{path}[{n}]")]
    if "one of" in kind:
        return (
            [] if value in kind["one of"] else [f"{path}: {value!r} is none of {', '.join(kind['one of'])}"]
        )
    if "*" in kind:
        return [line for name, one in value.items() for line in unlike(one, kind["*"], f"{path}.{name}")]
    unknown = [f"{path}.{name}: there is no such key" for name in value if name not in kind["keys"]]
    known = [(name, one) for name, one in value.items() if name in kind["keys"]]
    return unknown + [
        line for name, one in known for line in unlike(one, kind["keys"][name], f"{path}.{name}")
    ]


def _kubernetes(document: dict[str, Any]) -> list[str]:
    """What Kubernetes' own schema refuses, strictly."""
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}"]
    return []


def _pod(template: dict[str, Any], path: str) -> list[str]:
    plain = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
    return [f"{path}.{line}" for line in _kubernetes(plain)]


def _ours(kind: str, spec: dict[str, Any]) -> list[str]:
    """What no schema looks at."""
    cluster = spec if kind == "RayCluster" else spec.get("rayClusterSpec", {})
    found = [*_guarded(cluster), *_elastic(cluster)]
    for name, template in _templates(cluster):
        found += _locked(name, template)
    if kind == "RayJob":
        found += _job(spec)
    return found


def _job(spec: dict[str, Any]) -> Iterator[str]:
    if spec.get("submissionMode") not in SUBMISSION:
        yield f"submissionMode {spec.get('submissionMode')!r} is none of {', '.join(SUBMISSION)}"
    if not spec.get("shutdownAfterJobFinishes") and "ttlSecondsAfterFinished" in spec:
        yield "ttlSecondsAfterFinished without shutdownAfterJobFinishes: the operator refuses it"


def _guarded(cluster: dict[str, Any]) -> Iterator[str]:
    """The token, the network and the dashboard."""
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "authOptions.mode is not token: whoever reaches a port runs what he likes"
    if cluster.get("rayVersion") != version("ray"):
        yield f"rayVersion {cluster.get('rayVersion')} is not that of constraints.txt, {version('ray')}"
    policy = cluster.get("networkPolicy", {})
    if policy.get("mode") != "DenyAllIngress":
        yield "networkPolicy.mode is not DenyAllIngress: DenyAll cuts the autoscaler off, others let all in"
    rules = policy.get("head", {}).get("ingressRules", [])
    if any("podSelector" not in peer for rule in rules for peer in rule.get("from", [{}])):
        yield "networkPolicy.head.ingressRules lets more in than pods that it names"
    if any("ports" not in rule for rule in rules):
        yield "networkPolicy.head.ingressRules opens all ports"
    start = cluster["headGroupSpec"].get("rayStartParams", {})
    host = start.get("dashboard-host", "0.0.0.0")
    if host != "127.0.0.1" and not rules:
        yield f"dashboard-host is {host}, and no rule says who may reach it"
    if start.get("num-cpus") != "0":
        yield "the head computes: num-cpus is not 0"


def _elastic(cluster: dict[str, Any]) -> Iterator[str]:
    """The autoscaler and what it may take away."""
    if (
        not cluster.get("enableInTreeAutoscaling")
        or cluster.get("autoscalerOptions", {}).get("version") != "v2"
    ):
        yield "autoscaler v2 is not on"
    names = [group.get("groupName") for group in cluster.get("workerGroupSpecs", [])]
    if len(names) != len({*names}):
        yield f"groups share a name: {names}"
    for group in cluster.get("workerGroupSpecs", []):
        low, now, high = (group.get(key, 0) for key in ("minReplicas", "replicas", "maxReplicas"))
        if not low <= now <= high:
            yield f"{group['groupName']}: minReplicas {low}, replicas {now}, maxReplicas {high} do not ascend"
        pod = group["template"]["spec"]
        tolerated = {one["key"] for one in pod.get("tolerations", [])}
        for one in pod.get("tolerations", []):
            if one.get("operator") not in ("Exists", "Equal"):
                yield f"{group['groupName']}: operator {one.get('operator')} is none of Exists, Equal"
        if "node.kubernetes.io/spot" not in tolerated:
            yield f"{group['groupName']}: does not tolerate machines that may be taken back"
        asked = pod["containers"][0].get("resources", {}).get("limits", {})
        if ("nvidia.com/gpu" in asked) != ("nvidia.com/gpu" in tolerated):
            yield f"{group['groupName']}: asks for GPUs and tolerates their taint must go together"


def _templates(cluster: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "head", cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster.get("workerGroupSpecs", []):
        yield group["groupName"], group["template"]["spec"]


def _locked(name: str, pod: dict[str, Any]) -> Iterator[str]:
    """A pod's user, its image, its limits, its volumes."""
    if pod.get("restartPolicy") != "Never":
        yield f"{name}: restartPolicy is not Never, as autoscaler v2 and SidecarMode need it"
    about = pod.get("securityContext", {})
    if not about.get("runAsNonRoot") or not about.get("runAsUser"):
        yield f"{name}: may run as root"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        yield from (f"{name}: {line}" for line in _container(container, volumes))


def _container(container: dict[str, Any], volumes: set[str]) -> Iterator[str]:
    own = container.get("securityContext", {})
    if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "can gain rights"
    if own.get("privileged") or own.get("runAsUser") == 0:
        yield "is root after all"
    if not re.search(r":\d+\.\d+\.\d+$", container.get("image", "")):
        yield f"image {container.get('image')} is not pinned"
    asked = container.get("resources", {})
    if not asked.get("limits") or asked.get("limits") != asked.get("requests"):
        yield "limits and requests differ: Ray takes the limit for what it has"
    if missing := {mount["name"] for mount in container.get("volumeMounts", [])} - volumes:
        yield f"mounts {', '.join(sorted(missing))}, which is no volume of the pod"
