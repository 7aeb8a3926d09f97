// Command toda stands in for Chaos Mesh's program of this name in the image of its daemon:
// it injects the faults of an IOChaos. Package iofault says how.
package main

import (
	"os"

	"github.com/x0tta6bl4/mesh/e2e/ground/iofault"
)

func main() { os.Exit(iofault.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
