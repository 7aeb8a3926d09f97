package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// chaosCommands are the faults that Chaos Mesh has no kind for.
var chaosCommands = []command{
	{"corrupt", "flip bits in the signatures that leave this pod", runCorrupt},
	{"inject", "send invalid signatures and unknown keys to nodes", runInject},
}

func runChaos(ctx context.Context, args []string, out io.Writer) error {
	var names []string
	for _, c := range chaosCommands {
		names = append(names, c.name)
	}
	if len(args) == 0 {
		return fmt.Errorf("%w: want one of %s; see --help", errUsage, strings.Join(names, ", "))
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprintln(out, "usage: meshnode chaos COMMAND [flags]")
		fmt.Fprintln(out)
		for _, c := range chaosCommands {
			fmt.Fprintf(out, "  %-8s %s\n", c.name, c.summary)
		}
		fmt.Fprintln(out, "\nmeshnode chaos COMMAND --help shows the flags and an\nexample:\n  meshnode chaos corrupt --interface eth0 --duration 20s")
		return flag.ErrHelp
	}
	for _, c := range chaosCommands {
		if c.name == args[0] {
			if err := c.run(ctx, args[1:], out); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("%w: unknown command %q, want one of %s", errUsage, args[0], strings.Join(names, ", "))
}

// tell prints one JSON line about a fault, with the time.
func tell(out io.Writer, event string, detail any) error {
	line := struct {
		Time  time.Time `json:"time"`
		Event string    `json:"event"`
		Fault any       `json:"fault"`
	}{time.Now().UTC(), event, detail}
	return json.NewEncoder(out).Encode(line)
}
