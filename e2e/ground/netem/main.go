package netem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// UserspaceVariable makes, if it is set, the stand-in serve netem itself without
// asking the kernel first, so that both can be compared on one machine.
const UserspaceVariable = "X0TTA6BL4_TC_USERSPACE"

// tc's exit status and words for what the kernel refuses.
const (
	refused   = 2
	exclusive = "Error: Exclusivity flag on, cannot modify.\n"
)

// unknown are the ways in which tc tells that the kernel has no such qdisc: of
// today and of before Linux 4.16, which sent no reason.
var unknown = []string{"Specified qdisc kind is unknown", "RTNETLINK answers: No such file or directory"}

// Main is tc: it does what args ask and returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	i := parse(args)
	if os.Getenv(delayerVariable) != "" {
		return serve(i)
	}
	t := tc{args: args, stdout: stdout, stderr: stderr}
	var status int
	var err error
	switch i.action {
	case add:
		status, err = t.add(i)
	case remove:
		status, err = t.remove(i)
	case show:
		status, err = t.show(i)
	default:
		err = t.become()
	}
	if err != nil {
		fmt.Fprintln(stderr, "tc: stand-in:", err)
		return max(status, 1)
	}
	return status
}

// tc is one call.
type tc struct {
	args           []string
	stdout, stderr io.Writer
}

// add adds a qdisc, in userspace if the kernel has none of the kind.
func (t tc) add(i invocation) (int, error) {
	path, err := statePath(i.device)
	if err != nil {
		return 0, t.become() // tc says what is wrong with the device
	}
	if _, ok, err := served(path); err != nil {
		return 0, err
	} else if ok {
		fmt.Fprint(t.stderr, exclusive)
		return refused, nil
	}
	options, err := ParseOptions(i.netem)
	if i.kind != "netem" || err != nil {
		return 0, t.become()
	}
	status := refused
	var out, errOut bytes.Buffer
	if os.Getenv(UserspaceVariable) == "" {
		status, err = t.run(&out, &errOut)
		if err != nil || status == 0 || !tellsUnknown(errOut.String()) {
			return status, errors.Join(err, t.repeat(&out, &errOut))
		}
	}
	pid, err := start(t.args)
	if err != nil {
		return status, errors.Join(t.repeat(&out, &errOut), fmt.Errorf("netem on %s cannot be served in userspace either: %w", i.device, err))
	}
	fmt.Fprintf(t.stderr, "tc: netem on %s is served in userspace by process %d: %s\n", i.device, pid, options)
	return 0, nil
}

func tellsUnknown(message string) bool {
	for _, u := range unknown {
		if strings.Contains(message, u) {
			return true
		}
	}
	return false
}

// remove ends the stand-in where it serves, and leaves everything else to tc.
func (t tc) remove(i invocation) (int, error) {
	path, err := statePath(i.device)
	if err != nil {
		return 0, t.become()
	}
	if i.kind != "" && i.kind != "netem" {
		return 0, t.become()
	}
	if was, err := stop(path); err != nil || was {
		return 0, err
	}
	return 0, t.become()
}

// show shows tc's list, with netem in the place of the root qdisc of devices on
// which the stand-in serves.
func (t tc) show(i invocation) (int, error) {
	states, err := servedHere()
	if err != nil {
		return 0, err
	}
	if len(states) == 0 {
		return 0, t.become()
	}
	var out, errOut bytes.Buffer
	status, err := t.run(&out, &errOut)
	listed := withServed(out.String(), i.device, states)
	out.Reset()
	out.WriteString(listed)
	return status, errors.Join(err, t.repeat(&out, &errOut))
}

// servedHere returns the devices of this network namespace that are served, by name.
func servedHere() (map[string]State, error) {
	ns, err := namespace()
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(Directory, fmt.Sprintf("%d-*.json", ns)))
	if err != nil {
		return nil, err
	}
	states := map[string]State{}
	for _, p := range paths {
		s, ok, err := served(p)
		if err != nil {
			return nil, err
		}
		if ok {
			states[s.Device] = s
		}
	}
	return states, nil
}

// withServed puts netem into tc's list of qdiscs. A line of the list begins
// "qdisc KIND HANDLE dev DEVICE root refcnt N", or without "dev DEVICE" if only that
// one was asked for.
func withServed(list, device string, states map[string]State) string {
	var b strings.Builder
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		on, dev := device, ""
		if len(f) > 5 && f[3] == "dev" {
			on, dev = f[4], "dev "+f[4]+" "
			f = append(f[:3], f[5:]...)
		}
		s, ok := states[on]
		if ok && len(f) > 5 && f[0] == "qdisc" && f[3] == "root" {
			line = fmt.Sprintf("qdisc netem %s %sroot refcnt %s %s\n", s.Handle, dev, f[5], s.Options)
		}
		b.WriteString(line)
	}
	return b.String()
}

// repeat gives out what the real tc said.
func (t tc) repeat(out, errOut *bytes.Buffer) error {
	_, err := out.WriteTo(t.stdout)
	_, err2 := errOut.WriteTo(t.stderr)
	return errors.Join(err, err2)
}

// run runs the real tc and returns its exit status.
func (t tc) run(stdout, stderr io.Writer) (int, error) {
	real, err := realTC()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(real, t.args...)
	cmd.Args[0] = "tc"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// become replaces this process by the real tc.
func (t tc) become() error {
	real, err := realTC()
	if err != nil {
		return err
	}
	return syscall.Exec(real, append([]string{"tc"}, t.args...), os.Environ())
}

// realTC finds the tc that is not this one.
func realTC() (string, error) {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		path := filepath.Join(dir, "tc")
		if info, err := os.Stat(path); err == nil && !info.IsDir() && !os.SameFile(self, info) {
			return path, nil
		}
	}
	return "", errors.New("the real tc is not in PATH: install iproute2")
}
