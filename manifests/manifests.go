// Package manifests holds everything that is deployed, as plain YAML that kubectl
// takes as it is.
package manifests

import "embed"

// System is what the mesh is observed and disturbed with, and what its volumes come from. The chart's
// Secrets and webhooks lack their certificates, which are made when it is deployed.
//
//go:embed chaos-mesh/*.yaml prometheus/*.yaml metrics-server/*.yaml volumes/*.yaml
var System embed.FS

// Mesh is the mesh itself: what a scenario deploys into a namespace of its own.
//
//go:embed mesh/*.yaml
var Mesh embed.FS

// Access is the ClusterRole of who runs the suite in a cluster that is not theirs.
//
//go:embed access/role.yaml
var Access []byte

// Dashboard is the Grafana dashboard, as Grafana imports it.
//
//go:embed grafana/mesh.json
var Dashboard []byte
