//go:build race

package iofault

// buildFlags builds the command as this test is built.
var buildFlags, buildEnv = []string{"-race"}, "CGO_ENABLED=1"
