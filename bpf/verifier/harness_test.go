package verifier

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
)

// What the programs return for packets that the kernel may go on with.
const (
	xdpPass   = 2
	tcxUnspec = 1<<32 - 1
)

// loaded returns a verifier that is attached to nothing. Where BPF is not
// permitted the test is skipped, but never in CI.
func loaded(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	cfg.Interface = "unused"
	if cfg.Sessions == 0 {
		cfg.Sessions = 64
	}
	v, err := load(cfg)
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") != "true" {
		t.Skipf("needs root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: %v", err)
	}
	if err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return v
}

// both runs a test against the XDP and the tcx program.
func both(t *testing.T, cfg Config, test func(t *testing.T, r *runner)) {
	t.Helper()
	for _, name := range []string{"xdp", "tcx"} {
		t.Run(name, func(t *testing.T) {
			v := loaded(t, cfg)
			test(t, newRunner(t, v, name))
		})
	}
}

// runner puts packets through one program and tells the verdicts by the counters.
type runner struct {
	*Verifier
	prog    *ebpf.Program
	deliver uint32 // return value for packets that the kernel goes on with
}

func newRunner(t testing.TB, v *Verifier, name string) *runner {
	t.Helper()
	if name == "tcx" {
		return &runner{v, programOf(t, v, ModeTCX), tcxUnspec}
	}
	return &runner{v, programOf(t, v, ModeXDPNative), xdpPass}
}

// programOf is a verifier's program of a mode.
func programOf(t testing.TB, v *Verifier, mode string) *ebpf.Program {
	t.Helper()
	p, err := v.program(mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // it was only run
	return p
}

// refuses tells whether the kernel runs no tc program on raw by itself: it wants
// a whole IP header where the ethertype promises one, and anything after Ethernet.
func (r *runner) refuses(raw []byte) bool {
	if r.prog.Type() == ebpf.XDP {
		return len(raw) < 14
	}
	if len(raw) <= 14 {
		return true
	}
	switch binary.BigEndian.Uint16(raw[12:]) {
	case 0x0800:
		return len(raw) < 14+20
	case 0x86dd:
		return len(raw) < 14+40
	}
	return false
}

// run puts one packet through the program. It fails the test unless exactly one
// counter grew, by one.
func (r *runner) run(t testing.TB, raw []byte) (verdict string, deliver bool) {
	t.Helper()
	before := r.counts(t)
	ret, err := r.prog.Run(&ebpf.RunOptions{Data: raw})
	if err != nil {
		t.Fatalf("run %d bytes: %v", len(raw), err)
	}
	for name, n := range r.counts(t) {
		if grown := n - before[name]; grown == 1 && verdict == "" {
			verdict = name
		} else if grown != 0 {
			t.Fatalf("counter %s grew by %d beside %q", name, grown, verdict)
		}
	}
	if verdict == "" {
		t.Fatal("no counter grew")
	}
	return verdict, ret == r.deliver
}

// send runs a packet without looking at what becomes of it.
func (r *runner) send(t testing.TB, raw []byte) {
	t.Helper()
	if _, err := r.prog.Run(&ebpf.RunOptions{Data: raw}); err != nil {
		t.Fatalf("run %d bytes: %v", len(raw), err)
	}
}

func (r *runner) counts(t testing.TB) map[string]uint64 {
	t.Helper()
	counts, err := r.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return maps.Clone(counts)
}

// malformed returns the malformed packets by rule.
func (r *runner) malformed(t testing.TB) map[string]uint64 {
	t.Helper()
	counts, err := r.Malformed()
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// expect runs a packet and compares the verdict; all verdicts but pass and
// not_mesh must drop.
func (r *runner) expect(t *testing.T, raw []byte, want string) {
	t.Helper()
	verdict, deliver := r.run(t, raw)
	if verdict != want {
		t.Errorf("verdict %s, want %s", verdict, want)
	}
	if wantDeliver := want == "pass" || want == "not_mesh"; deliver != wantDeliver {
		t.Errorf("verdict %s: delivered %t, want %t", verdict, deliver, wantDeliver)
	}
}

// put makes a session known, verified for an hour, and fails the test if it cannot.
func (r *runner) put(t testing.TB, id frame.SessionID, key frame.Key) {
	t.Helper()
	hour := Now() + time.Hour
	if err := r.Put(id, Session{RxHeaderKey: key, Expires: hour, VerifiedUntil: hour}); err != nil {
		t.Fatal(err)
	}
}

func (r *runner) remove(t testing.TB, id frame.SessionID) {
	t.Helper()
	if err := r.Delete(id); err != nil {
		t.Fatal(err)
	}
}

// A session's id and key for tests.
var (
	testID  = frame.SessionID{0: 0xa1, 15: 0x1a}
	testKey = frame.Key{0: 0xc1, 7: 0x55, 8: 0x66, 15: 0x1c}
)
