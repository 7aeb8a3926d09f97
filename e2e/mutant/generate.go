//go:build ignore

// Generate writes the constants of the seeded defects into meshnode/internal/mutant.
package main

import (
	"fmt"
	"os"

	"github.com/x0tta6bl4/mesh/e2e/mutant"
)

func main() {
	if err := mutant.Write("../../meshnode/internal/mutant"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
