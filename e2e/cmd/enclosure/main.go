// Command enclosure is what our Docker engine runs in and what carries its published ports
// out: enclosure init RUN STATE COMMAND… is started by package engine in new namespaces;
// enclosure -proto tcp … is started by dockerd, as its userland proxy.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine/enclosure"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) > 3 && args[0] == "init":
		var code int
		if code, err = enclosure.Init(args[1], args[2], args[3:]); err == nil {
			os.Exit(code)
		}
	case len(args) > 0 && strings.HasPrefix(args[0], "-"):
		err = enclosure.Proxy(args)
	default:
		fmt.Fprintln(os.Stderr, "usage: enclosure init RUN STATE COMMAND… | enclosure -proto tcp -host-ip … (both are started by the suite's engine)")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "enclosure:", err)
		os.Exit(1)
	}
}
