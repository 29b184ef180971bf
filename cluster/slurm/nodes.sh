#!/bin/bash
# What a job does on its nodes: Ray on all of them, the run on the first. Needs SPEC, PROFILE and ABUNDANT.
set -euo pipefail

: "${SPEC:?a run spec: sbatch --export=ALL,SPEC=…,PROFILE=…,ABUNDANT=…}"
: "${PROFILE:?a profile, such as cluster/profiles/slurm-gpu.toml}"
export PATH="$ABUNDANT/.venv/bin:$PATH"

# A token of this job's own, for its nodes alone: ports of a compute node can be reached by other users.
umask 077
token=$(mktemp "$HOME/.abundant-token-XXXXXXXX")
trap 'rm -f "$token"' EXIT
head -c 32 /dev/urandom | base64 --wrap=0 | tr -d '+/=' > "$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$token" RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address="${nodes[0]}:$((20000 + SLURM_JOB_ID % 10000))"

# symmetric-run ends with `ray stop`, which stops every Ray of a node: so the nodes must be ours alone (--exclusive).
# RAY_ADDRESS=auto: join what symmetric-run has started, never start another.
srun --kill-on-bad-exit=1 ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --dashboard-host=127.0.0.1 -- \
    env RAY_ADDRESS=auto abundant run "$SPEC" --profile "$PROFILE"
