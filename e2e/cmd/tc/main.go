// Command tc stands in for iproute2's tc in the image of Chaos Mesh's daemon: it
// hands everything to the real one and serves netem itself where the kernel has no
// sch_netem. Package netem says how.
package main

import (
	"os"

	"github.com/x0tta6bl4/mesh/e2e/ground/netem"
)

func main() { os.Exit(netem.Main(os.Args[1:], os.Stdout, os.Stderr)) }
