//go:build !race

package iofault

// buildFlags builds the command as this test is built, and as it is for the image.
var buildFlags, buildEnv = []string(nil), "CGO_ENABLED=0"
