package main

import (
	"context"
	"fmt"
	"io"

	"github.com/x0tta6bl4/mesh/meshnode/internal/command"
)

// version is set at build time (-ldflags "-X main.version=…").
var version = ""

// binary returns the command line of meshnode. What attacks nodes is no part of
// it, but a binary of its own: meshchaos.
func binary() command.Binary {
	return command.Binary{Name: "meshnode", Commands: []command.Command{
		{Name: "run", Summary: "run a mesh node", Run: runNode},
		{Name: "ca", Summary: "run the mesh's certificate authority", Run: runCA},
		{Name: "client", Summary: "write and read records, keep client sessions, and record the history", Run: runClient},
		{Name: "status", Summary: "print a node's peers, sessions, routes and incidents", Run: runStatus},
		{Name: "version", Summary: "print the version", Run: runVersion},
	}}
}

func main() { binary().Main() }

func runVersion(_ context.Context, args []string, out io.Writer) error {
	f := command.NewFlags("meshnode version", "meshnode version", out)
	if err := f.Parse(args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, command.Version(version))
	return err
}
