// Package chaosmesh regenerates Chaos Mesh's manifests.
package chaosmesh

//go:generate go -C render run .
