"""KubeRay's manifests are valid, strictly; what is planted in them is found."""

import tomllib

import pytest
import yaml

from engine.spec import Profile, RunSpec
from engine.toml import load
from tests.cluster.deployments.findings import CLUSTER, planted
from tests.cluster.deployments.kuberay import findings

MANIFESTS = {name: (CLUSTER / "kuberay" / f"{name}.yaml").read_text() for name in ("raycluster", "rayjob")}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_sound(name: str) -> None:
    assert findings(MANIFESTS[name]) == []


def test_the_job_runs_a_spec_and_a_profile_that_can_be_read() -> None:
    config, job = yaml.safe_load_all(MANIFESTS["rayjob"])
    RunSpec.model_validate(tomllib.loads(config["data"]["run.toml"]))
    asked = Profile.model_validate(tomllib.loads(config["data"]["profile.toml"]))
    assert asked == load(CLUSTER / "profiles" / "kuberay.toml", Profile)
    groups = {group["groupName"]: group for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]}
    assert asked.actors is not None
    assert asked.actors <= groups["gpu"]["maxReplicas"]
    *_, spec, _, profile = job["spec"]["entrypoint"].split()
    assert {spec, profile} == {f"/run-spec/{name}" for name in config["data"]}


PLANTS = [
    ("maxReplicas", "maxReplica", "maxReplica: there is no such key"),
    ("mode: token", "mode: tokens", "none of disabled, token"),
    ("mode: token", "mode: disabled", "authOptions.mode is not token"),
    ("  authOptions:\n", "  authOption:\n", "authOption: there is no such key"),
    ("mode: DenyAllIngress", "mode: DenyAll", "not DenyAllIngress"),
    ("mode: DenyAllIngress", "mode: DenyIngress", "none of DenyAll"),
    ("version: v2", "version: v3", "none of v1, v2"),
    ("version: v2", "version: v1", "autoscaler v2 is not on"),
    ("enableInTreeAutoscaling: true", "enableInTreeAutoscaling: 'true'", "is no boolean"),
    ('rayVersion: "2.60.0"', 'rayVersion: "2.59.0"', "not that of constraints.txt"),
    ('rayVersion: "2.60.0"', "rayVersion: 2.60", "is no string"),
    ('num-cpus: "0"', 'num-cpus: "4"', "the head computes"),
    ("restartPolicy: Never", "restartPolicy: Always", "restartPolicy is not Never"),
    ("restartPolicy: Never", "restartPolicy: Nevr", "restartPolicy is not Never"),
    ("runAsUser: 1000", "runAsUser: 0", "may run as root"),
    ("runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
    ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "can gain rights"),
    ("abundant:0.1.0", "abundant:latest", "is not pinned"),
    ("containers:", "container:", "container"),
    ("mountPath: /dev/shm", "mountpath: /dev/shm", "mountPath"),
    ("{name: scratch, mountPath", "{name: scrtch, mountPath", "mounts scrtch"),
    ('limits: {cpu: "16", memory: 48Gi}', 'limits: {cpu: "16", memory: 64Gi}', "limits and requests differ"),
    ("- {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}", "", "must go together"),
    ("key: node.kubernetes.io/spot", "key: node.kubernetes.io/sport", "taken back"),
    ("operator: Exists", "operator: Exist", "operator Exist is none of"),
    ("minReplicas: 0", "minReplicas: 99", "do not ascend"),
    ("groupName: gpu", "groupName: cpu", "groups share a name"),
    (
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: false\n            # AWS_SECRET_ACCESS_KEY: wJalrXUtnFEMI",
        "a secret",
    ),
]


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize(("old", "new", "found"), PLANTS)
def test_what_is_planted_is_found(name: str, old: str, new: str, found: str) -> None:
    assert any(found in line for line in findings(planted(MANIFESTS[name], old, new)))


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("raycluster", "dashboard-host: 127.0.0.1", "dashboard-host: 0.0.0.0", "dashboard-host is 0.0.0.0"),
        ("raycluster", "      dashboard-host: 127.0.0.1\n", "", "dashboard-host is 0.0.0.0"),
        ("rayjob", "submissionMode: SidecarMode", "submissionMode: SidecarMod", "'SidecarMod' is none of"),
        (
            "rayjob",
            "shutdownAfterJobFinishes: true",
            "shutdownAfterJobFinishes: false",
            "ttlSecondsAfterFinished",
        ),
        ("rayjob", "backoffLimit: 3", "backoffLimits: 3", "backoffLimits: there is no such key"),
        (
            "rayjob",
            "- {port: 8265, protocol: TCP}",
            "- {prt: 8265, protocol: TCP}",
            "prt: there is no such key",
        ),
        (
            "rayjob",
            "            ports:\n              - {port: 8265, protocol: TCP}\n",
            "",
            "opens all ports",
        ),
        (
            "rayjob",
            "podSelector:\n                  matchLabels: {app.kubernetes.io/name: kuberay-operator}",
            "ipBlock: {cidr: 0.0.0.0/0}",
            "more in than pods",
        ),
        ("rayjob", "kind: ConfigMap", "kind: ConfigMap\nspec: {}", "spec"),
        ("rayjob", "kind: RayJob", "kind: RayJobs", "no resource of KubeRay's"),
    ],
)
def test_what_is_planted_in_one_of_them_is_found(name: str, old: str, new: str, found: str) -> None:
    assert any(found in line for line in findings(planted(MANIFESTS[name], old, new)))
