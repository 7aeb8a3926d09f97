// Command meshchaos attacks mesh nodes, for tests: the faults that Chaos Mesh has
// no kind for.
//
// Exit codes: 0 done, 1 failed, 2 usage.
package main

import "github.com/x0tta6bl4/mesh/meshnode/internal/chaos"

func main() { chaos.Binary().Main() }
