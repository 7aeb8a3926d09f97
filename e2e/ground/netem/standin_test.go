package netem

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// words splits a command line.
func words(line string) []string { return strings.Fields(line) }

// realTCOn calls the real tc on the host.
func (h *host) realTCOn(t testing.TB, args ...string) result {
	t.Helper()
	path, err := realTC()
	if err != nil {
		t.Fatal(err)
	}
	return h.command(t, path, args...)
}

// kernelHasNetem tells whether this kernel knows the qdisc.
func kernelHasNetem(t testing.TB, h *host) bool {
	t.Helper()
	r := h.realTCOn(t, words("qdisc add dev lo root netem delay 1ms")...)
	if r.status == 0 {
		if r := h.realTCOn(t, words("qdisc del dev lo root")...); r.status != 0 {
			t.Fatalf("%+v", r)
		}
		return true
	}
	if !tellsUnknown(r.err) {
		t.Fatalf("%+v", r)
	}
	return false
}

// serve adds netem by the stand-in, which serves even if the kernel could.
func (h *host) serve(t testing.TB, options string) State {
	t.Helper()
	t.Setenv(UserspaceVariable, "1")
	r := h.tc(t, append(words("qdisc add dev eth0 root handle 1: netem"), words(options)...)...)
	if r.status != 0 || r.out != "" || !strings.HasPrefix(r.err, "tc: netem on eth0 is served in userspace") {
		t.Fatalf("%+v", r)
	}
	path := h.statePath(t)
	t.Cleanup(func() {
		if _, err := stop(path); err != nil {
			t.Error(err)
		}
	})
	return h.state(t)
}

func (h *host) statePath(t testing.TB) (path string) {
	t.Helper()
	h.do(t, func() (err error) { path, err = statePath("eth0"); return err })
	return path
}

// state reads who serves eth0.
func (h *host) state(t testing.TB) State {
	t.Helper()
	s, ok, err := served(h.statePath(t))
	if err != nil || !ok {
		t.Fatalf("eth0 is not served: %v", err)
	}
	return s
}

// remove deletes the qdisc of eth0 and expects tc's silence.
func (h *host) remove(t testing.TB) {
	t.Helper()
	if r := h.tc(t, words("qdisc del dev eth0 root")...); r != (result{}) {
		t.Fatalf("%+v", r)
	}
}

// nothingLeft fails the test if a rule, a queue, a file or the process is left.
func (h *host) nothingLeft(t testing.TB, pid int) {
	t.Helper()
	h.do(t, func() error {
		queues, err := os.ReadFile(queuesFile)
		if err != nil || len(queues) > 0 {
			t.Errorf("queues %q, %v", queues, err)
		}
		tables, err := dumpTables()
		if err != nil || len(tables) > 0 {
			t.Errorf("nftables %q, %v", tables, err)
		}
		return nil
	})
	if s, ok, err := served(h.statePath(t)); ok || err != nil {
		t.Errorf("still served: %+v, %v", s, err)
	}
	if err := unix.Kill(pid, 0); err == nil && !zombie(pid) {
		t.Errorf("process %d is there", pid)
	}
}

// zombie tells whether a process waits for its parent only.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(after, "Z")
}

// references are counted by the kernel for as many queues as the device has.
var references = regexp.MustCompile(` refcnt [0-9]+`)

func TestServesWhatTheKernelLacks(t *testing.T) {
	a, _ := pair(t)
	before := a.tc(t, "qdisc", "show")
	if want := a.realTCOn(t, "qdisc", "show"); before != want {
		t.Fatalf("got %+v, want %+v", before, want)
	}
	added := a.tc(t, words("qdisc add dev eth0 root handle 1: netem delay 200ms 50ms 50.000000")...)
	if added.status != 0 || added.out != "" {
		t.Fatalf("%+v", added)
	}
	for _, c := range [][2]string{
		{"qdisc show dev eth0", "qdisc netem 1: root limit 1000 delay 200ms  50ms 50%"},
		{"qdisc show", "qdisc netem 1: dev eth0 root limit 1000 delay 200ms  50ms 50%"},
	} {
		r := a.tc(t, words(c[0])...)
		if lines := strings.Split(references.ReplaceAllString(r.out, ""), "\n"); !slices.Contains(lines, c[1]) {
			t.Errorf("tc %s: %+v, want %q", c[0], r, c[1])
		}
	}
	if again := a.tc(t, words("qdisc add dev eth0 root handle 1: netem delay 1ms")...); again != (result{2, "", exclusive}) {
		t.Errorf("a second one: %+v", again)
	}
	if kernelHasNetem(t, a) {
		if added.err != "" {
			t.Errorf("%+v", added)
		}
		a.remove(t)
		return
	}
	if !strings.Contains(added.err, "is served in userspace") {
		t.Errorf("%+v", added)
	}
	if other := a.tc(t, words("qdisc add dev eth0 root tbf rate 1mbit burst 10kb latency 10ms")...); other != (result{2, "", exclusive}) {
		t.Errorf("another one: %+v", other)
	}
	s := a.state(t)
	b, err := os.ReadFile(a.statePath(t))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(b, &file); err != nil || file["served"] != "userspace" || file["device"] != "eth0" || file["backpressure"] != nil {
		t.Errorf("file %s, %v", b, err)
	}
	a.remove(t)
	if after := a.tc(t, "qdisc", "show"); after != before {
		t.Errorf("after removal %+v, before %+v", after, before)
	}
	a.nothingLeft(t, s.PID)
	got, want := a.tc(t, words("qdisc del dev eth0 root")...), a.realTCOn(t, words("qdisc del dev eth0 root")...)
	if got != want || got.status == 0 {
		t.Errorf("a second removal: got %+v, want %+v", got, want)
	}
}

// TestWhatIsNotServedFailsAsItDoes compares the stand-in with the real tc.
func TestWhatIsNotServedFailsAsItDoes(t *testing.T) {
	a, _ := pair(t)
	for _, line := range []string{
		"qdisc del dev eth0 root", "qdisc del dev lo root", "qdisc del dev none root", "qdisc show dev none",
		"qdisc add dev none root netem delay 1ms",
		"qdisc add dev eth0 root netem delay fast",
		"qdisc add dev eth0 root handle 1: netem delay 1ms rate",
		"qdisc add dev eth0 parent 1:4 handle 7: netem delay 1ms",
		"qdisc add dev eth0 root handle 1: nosuch",
		"qdisc add dev eth0", "nosuch", "-V", "", "-s qdisc", "-j qdisc show", "class show dev eth0",
	} {
		if got, want := a.tc(t, words(line)...), a.realTCOn(t, words(line)...); got != want {
			t.Errorf("tc %s: got %+v, want %+v", line, got, want)
		}
	}
	if kernelHasNetem(t, a) {
		return // it serves the following
	}
	for _, options := range []string{
		"delay 1ms reorder 25.000000", "duplicate 1.000000", "corrupt 1.000000 1.000000", "delay 1ms rate 1mbit", "loss gemodel 1%",
		"delay 200ms 50ms distribution normal",
	} {
		args := append(words("qdisc add dev eth0 root handle 1: netem"), words(options)...)
		got, want := a.tc(t, args...), a.realTCOn(t, args...)
		if got != want || got.status == 0 {
			t.Errorf("netem %s: got %+v, want %+v", options, got, want)
		}
	}
}

// TestPacketsAreReleasedOnRemoval: none is lost, and none waits for its time.
func TestPacketsAreReleasedOnRemoval(t *testing.T) {
	a, b := pair(t)
	s := a.serve(t, "delay 60s")
	removed := make(chan struct{})
	go func() {
		defer close(removed)
		waitUntilHeld(t, a, 100)
		a.remove(t)
	}()
	got := measure(t, a, b, flow{packets: 100, burst: 10, every: time.Millisecond, wait: 20 * time.Second})
	<-removed
	if got.loss() != 0 || got.max() > 20*time.Second {
		t.Errorf("lost %g, longest %s", got.loss(), got.max())
	}
	a.nothingLeft(t, s.PID)
	undelayed(t, a, b)
}

// undelayed fails the test if packets from a to b are delayed or lost.
func undelayed(t testing.TB, a, b *host) {
	t.Helper()
	got := measure(t, a, b, flow{packets: 100, burst: 10, every: time.Millisecond, wait: 5 * time.Second})
	if got.loss() != 0 || got.quantile(0.5) > 0.05 {
		t.Errorf("lost %g, median delay %g s", got.loss(), got.quantile(0.5))
	}
}

// waitUntilHeld waits until the kernel holds so many packets for the stand-in.
func waitUntilHeld(t testing.TB, h *host, packets int) {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); {
		if h.held(t) >= packets {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Errorf("%d packets are held, want %d", h.held(t), packets)
}

// queuesFile lists the netfilter queues of the thread's network namespace.
const queuesFile = "/proc/thread-self/net/netfilter/nfnetlink_queue"

// held returns how many packets wait in queues of the host.
func (h *host) held(t testing.TB) int {
	waiting := 0
	err := h.try(func() error {
		b, err := os.ReadFile(queuesFile)
		for line := range strings.Lines(string(b)) {
			var number, port, n int
			if _, err := fmt.Sscan(line, &number, &port, &n); err != nil {
				return err
			}
			waiting += n
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return waiting
}

// TestKilled: what was held is lost as in a real qdisc that is removed, what comes
// later passes, nothing is left, and it can be served again.
func TestKilled(t *testing.T) {
	a, b := pair(t)
	before := a.tc(t, "qdisc", "show")
	s := a.serve(t, "delay 60s")
	got := measure(t, a, b, flow{packets: 100, burst: 10, every: time.Millisecond, wait: time.Millisecond})
	if got.loss() != 1 {
		t.Errorf("lost %g", got.loss())
	}
	waitUntilHeld(t, a, 100)
	kill(t, s.PID)
	if n := a.held(t); n != 0 {
		t.Errorf("%d packets are held", n)
	}
	undelayed(t, a, b)
	if after := a.tc(t, "qdisc", "show"); after != before {
		t.Errorf("after the kill %+v, before %+v", after, before)
	}
	a.nothingLeft(t, s.PID)
	if again := a.serve(t, "delay 60s"); again.PID == s.PID {
		t.Errorf("served by %+v", again)
	}
	a.remove(t)
	if _, err := os.Stat(a.statePath(t)); err == nil {
		t.Error("the file is left")
	}
}

// kill kills a process and waits for its end.
func kill(t testing.TB, pid int) {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	if err := unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if !ended(process, 10*time.Second) {
		t.Fatalf("process %d does not end", pid)
	}
}

// TestEndsWithItsDevice: a pod's network is removed while it is delayed.
func TestEndsWithItsDevice(t *testing.T) {
	a, b := pair(t)
	s := a.serve(t, "delay 60s")
	measure(t, a, b, flow{packets: 10, burst: 10, every: time.Millisecond, wait: time.Millisecond})
	path := a.statePath(t)
	process, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	b.do(t, func() error { // the other end takes ours along
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkDel(eth0)
	})
	if !ended(process, 10*time.Second) {
		t.Fatal("it does not end")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is left")
	}
}

// TestOutlivesItsCaller: Chaos Mesh's daemon ends the process group that it started,
// and waits for whoever has one of its descriptors.
func TestOutlivesItsCaller(t *testing.T) {
	a, b := pair(t)
	t.Setenv(UserspaceVariable, "1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a.do(t, func() error {
		cmd := exec.Command(standIn, words("qdisc add dev eth0 root netem delay 60s")...)
		cmd.ExtraFiles = []*os.File{w}
		cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGTERM); err != unix.ESRCH {
			t.Errorf("a process is left in the group: %v", err)
		}
		return w.Close()
	})
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the pipe is open: %v", err)
	}
	got := measure(t, a, b, flow{packets: 10, burst: 10, every: time.Millisecond, wait: 100 * time.Millisecond})
	if got.loss() != 1 {
		t.Errorf("lost %g", got.loss())
	}
	a.remove(t)
}
