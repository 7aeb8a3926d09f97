#!/usr/bin/env bash
# Chaos Mesh's API module has NetworkChaosSpec.partitionBehavior, which its mutating webhook
# defaults on every partition. The CRDs in the controller's module of the same week do not
# have the field. An API server that serves those CRDs prunes it, the webhook sets it again on
# each update, and every update is refused as a change of the spec: nothing is injected.
# Who builds both from modules should generate the CRDs from the API module.
#
# Exit 0: still so. Exit 1: it has changed. Needs the go command and a module proxy.
set -euo pipefail
mesh=github.com/chaos-mesh/chaos-mesh@v0.9.1-0.20260902003049-47411975a8cb
api=github.com/chaos-mesh/chaos-mesh/api@v0.0.0-20260906172039-d70b66ad97ac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init finding >/dev/null 2>&1
dir() { go mod download -json "$1" | sed -nE 's/^\t"Dir": "(.*)",?$/\1/p'; }
mesh_dir=$(dir "$mesh") api_dir=$(dir "$api")
field=$(grep -rhoE 'json:"partitionBehavior[^"]*"' "$api_dir/v1alpha1" | sort -u)
in_crd=$(grep -c partitionBehavior "$mesh_dir/helm/chaos-mesh/crds/chaos-mesh.org_networkchaos.yaml" || true)
echo "version:   $mesh"
echo "           $api"
echo "behaviour: the API's field is ${field:-absent}; the CRD of NetworkChaos names it $in_crd times"
if [ -n "$field" ] && [ "$in_crd" = 0 ]; then
  exit 0
fi
echo "changed: the CRDs and the API agree on partitionBehavior" >&2
exit 1
