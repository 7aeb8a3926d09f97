package corruptor

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/bpf/internal/lab"
)

// ownerVariable makes the test binary the owner of a program that is attached in this mode, until it is killed.
const ownerVariable = "CORRUPTOR_OWNER"

// open is what each of these tests opens.
var open = Config{Interface: "eth0", Offset: 3, Mask: 1, Rate: 1}

// owned keeps the owner's program from the garbage collector.
var owned *Corruptor

func TestMain(m *testing.M) {
	cfg := open
	if cfg.Mode = os.Getenv(ownerVariable); cfg.Mode == "" {
		os.Exit(m.Run())
	}
	var err error
	if owned, err = Open(cfg); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("attached")
	select {} // until killed
}

// inEachMode runs a test with a program at the egress of a host, in each way of attaching it that the kernel has.
func inEachMode(t *testing.T, test func(t *testing.T, w *wire, mode string)) {
	for _, mode := range []string{ModeTCX, ModeClsact} {
		t.Run(mode, func(t *testing.T) {
			if mode == ModeTCX {
				lab.NeedsTCX(t)
			}
			test(t, newWire(t), mode)
		})
	}
}

// wire is two hosts of which one sends signatures to the other.
type wire struct {
	node     *lab.Host
	to       lab.Station
	receives func(t *testing.T) []byte
	tcx      bool // the kernel has it
}

func newWire(t *testing.T) *wire {
	t.Helper()
	node, peer := lab.TwoHosts(t)
	receiver, sender := peer.Listen(t, "udp4", frame.Port), node.Listen(t, "udp4", 0)
	return &wire{
		node: node, tcx: lab.HasTCX(t),
		to:       lab.Station{Conn: sender, To: netip.AddrPortFrom(peer.IPv4, frame.Port)},
		receives: func(t *testing.T) []byte { t.Helper(); return lab.Receive(t, receiver) },
	}
}

// corrupts sends a signature and tells whether it arrives as it was corrupted, or as it was sent. The receiver's
// kernel has accepted its checksum.
func (w *wire) corrupts(t *testing.T) bool {
	t.Helper()
	w.to.Send(t, signature(100))
	corrupted := signature(100)
	corrupted[frame.HeaderLen+3] ^= 1
	got := w.receives(t)
	if !bytes.Equal(got, corrupted) && !bytes.Equal(got, signature(100)) {
		t.Fatalf("got  %x\nsent %x", got, signature(100))
	}
	return bytes.Equal(got, corrupted)
}

// expects fails the test unless what is sent arrives corrupted, or not.
func (w *wire) expects(t *testing.T, corrupted bool) {
	t.Helper()
	if got := w.corrupts(t); got != corrupted {
		t.Fatalf("corrupted: %v, want %v", got, corrupted)
	}
}

// eventually waits for what the kernel does a moment after it was called for.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within 5 s: ", what)
		}
	}
}

// open attaches a program in the node's network namespace.
func (w *wire) open(mode string) (c *Corruptor, err error) {
	cfg := open
	cfg.Mode = mode
	err = w.node.Try(func() error {
		var err error
		c, err = Open(cfg)
		return err
	})
	return c, err
}

// left are the programs, filters and qdiscs for these at the node's interface.
func (w *wire) left(t *testing.T) (all []string) {
	t.Helper()
	w.node.Do(t, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if w.tcx {
			r, err := link.QueryPrograms(link.QueryOptions{Target: eth0.Attrs().Index, Attach: ebpf.AttachTCXEgress})
			if err != nil {
				return err
			}
			for range r.Programs {
				all = append(all, "tcx")
			}
		}
		filters, err := netlink.FilterList(eth0, netlink.HANDLE_MIN_EGRESS)
		if err != nil {
			return err
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok {
				all = append(all, fmt.Sprintf("%s %#x", b.Name, b.Handle))
			}
		}
		qdiscs, err := netlink.QdiscList(eth0)
		for _, q := range qdiscs {
			if q.Attrs().Parent == netlink.HANDLE_CLSACT {
				all = append(all, q.Type())
			}
		}
		return err
	})
	slices.Sort(all)
	return all
}

// ours is our filter, as left tells it.
var ours = fmt.Sprintf("%s %#x", filterName, filterHandle)

// TestOwnerKilled: an owner that is killed corrupts nothing from then on. What the kernel does not take away with it does
// nothing, and goes with the next owner, who takes away all.
func TestOwnerKilled(t *testing.T) {
	inEachMode(t, func(t *testing.T, w *wire, mode string) {
		w.expects(t, false)
		owner := exec.Command("/proc/self/exe")
		owner.Env = append(os.Environ(), ownerVariable+"="+mode)
		output, err := owner.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		w.node.Do(t, owner.Start) // a child starts in the namespace of the thread
		line := make([]byte, 200)
		n, err := output.Read(line)
		if err != nil || string(line[:n]) != "attached\n" {
			t.Fatalf("owner said %q, %v", line[:n], err)
		}
		w.expects(t, true)
		if mode == ModeClsact {
			if _, err := w.open(mode); err == nil || !strings.Contains(err.Error(), "another process has one there") {
				t.Errorf("beside one that lives: %v", err)
			}
			w.expects(t, true)
		}
		if err := owner.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := owner.Wait(); err == nil {
			t.Error("the owner ended well")
		}
		eventually(t, "nothing is corrupted", func() bool { return !w.corrupts(t) })
		if mode == ModeTCX {
			eventually(t, "nothing is attached", func() bool { return len(w.left(t)) == 0 })
		} else if got, want := w.left(t), []string{"clsact", ours}; !slices.Equal(got, want) {
			t.Errorf("left: %q, want %q", got, want)
		}

		next, err := w.open(mode)
		if err != nil {
			t.Fatal(err)
		}
		if next.Mode() != mode {
			t.Errorf("attached by %s, want %s", next.Mode(), mode)
		}
		w.expects(t, true)
		if c, err := next.Counts(); err != nil || c != (Counts{Seen: 1, Corrupted: 1}) {
			t.Errorf("counts %+v (%v), want 1 corrupted", c, err)
		}
		if err := next.Close(); err != nil {
			t.Error(err)
		}
		w.expects(t, false)
		if got := w.left(t); len(got) != 0 {
			t.Errorf("left: %q", got)
		}
	})
}

// TestOthersFilters: what was there stays, be it as much like ours as can be, and so does the qdisc that it is in.
func TestOthersFilters(t *testing.T) {
	for name, others := range map[string][]netlink.BpfFilter{
		"an empty qdisc": nil,
		"one before and one after": {
			{FilterAttrs: netlink.FilterAttrs{Handle: 1, Priority: filterPriority}, Name: "others"},
			{FilterAttrs: netlink.FilterAttrs{Handle: filterHandle, Priority: 7}, Name: filterName},
		},
		"one of our name": {{FilterAttrs: netlink.FilterAttrs{Handle: filterHandle + 1, Priority: filterPriority}, Name: filterName}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			w.node.Do(t, func() error { return populate(others) })
			before := w.left(t)
			if len(before) != len(others)+1 {
				t.Fatalf("there is %q", before)
			}
			c, err := w.open(ModeClsact)
			if err != nil {
				t.Fatal(err)
			}
			w.expects(t, true)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			w.expects(t, false)
			if after := w.left(t); !slices.Equal(after, before) {
				t.Errorf("left: %q, there was %q", after, before)
			}
		})
	}
}

// populate makes a clsact qdisc with filters that do nothing.
func populate(filters []netlink.BpfFilter) error {
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	f := &filter{index: eth0.Attrs().Index}
	if err := netlink.QdiscAdd(f.qdisc()); err != nil {
		return err
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "MIT", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer program.Close()
	for _, other := range filters {
		other.LinkIndex, other.Parent, other.Protocol = f.index, netlink.HANDLE_MIN_EGRESS, unix.ETH_P_ALL
		other.Fd, other.DirectAction = program.FD(), true
		if err := netlink.FilterAdd(&other); err != nil {
			return err
		}
	}
	return nil
}

// TestQdiscWithoutEgress: in a qdisc that only looks at what comes in, a filter would be at the wrong side.
func TestQdiscWithoutEgress(t *testing.T) {
	w := newWire(t)
	w.node.Do(t, func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: eth0.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
		}})
	})
	if _, err := w.open(ModeClsact); err == nil || !strings.Contains(err.Error(), "has no egress") {
		t.Errorf("error %v", err)
	}
	if got, want := w.left(t), []string{"ingress"}; !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
	w.expects(t, false)
}

// TestModeOfTheKernel: with nothing forced it is tcx where there is tcx, and otherwise a filter.
func TestModeOfTheKernel(t *testing.T) {
	w := newWire(t)
	want := ModeClsact
	if w.tcx {
		want = ModeTCX
	}
	c, err := w.open("")
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode() != want {
		t.Errorf("attached by %s, want %s", c.Mode(), want)
	}
	w.expects(t, true)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if got := w.left(t); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}
