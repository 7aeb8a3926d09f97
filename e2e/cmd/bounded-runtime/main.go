// Command bounded-runtime is an OCI runtime for hosts whose capability bounding
// set is smaller than root's: it fits the capabilities and the oom_score_adj that
// an engine asks for to what the host has, and then executes runc.
//
// An engine older than Docker 23 asks for every capability that it knows when a
// container is privileged, which runc refuses if one is out of bounds; and it does
// not know CAP_BPF, CAP_PERFMON and CAP_CHECKPOINT_RESTORE (Linux 5.8, 5.9), without which no pod in
// a kind node can be given them. They follow CAP_SYS_ADMIN here, which includes them.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine/oci"
)

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "bounded-runtime:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	command, bundle, process := parse(args[1:])
	bound := func(c int) bool {
		v, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		return err == nil && v == 1
	}
	switch command {
	case "create", "run":
		if err := rewrite(filepath.Join(bundle, "config.json"), func(spec map[string]any) {
			if p, ok := spec["process"].(map[string]any); ok {
				oci.FitProcess(p, bound)
			}
		}); err != nil {
			return err
		}
	case "exec":
		if process != "" {
			if err := rewrite(process, func(p map[string]any) { oci.FitProcess(p, bound) }); err != nil {
				return err
			}
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("find runc: %w (install the runc package)", err)
	}
	return syscall.Exec(runc, append([]string{"runc"}, args[1:]...), os.Environ())
}

// parse finds runc's command and the two files that carry a process.
func parse(args []string) (command, bundle, process string) {
	bundle = "."
	for i, a := range args {
		name, value, inline := strings.Cut(a, "=")
		if !inline && i+1 < len(args) {
			value = args[i+1]
		}
		switch name {
		case "--bundle", "-b":
			bundle = value
		case "--process", "-p":
			process = value
		case "create", "run", "exec":
			if command == "" {
				command = name
			}
		}
	}
	return command, bundle, process
}

// rewrite edits a JSON file in place and keeps every field that it does not know.
func rewrite(path string, edit func(map[string]any)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber() // 64-bit limits do not survive a float64
	if err := d.Decode(&doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	edit(doc)
	if b, err = json.Marshal(doc); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}
