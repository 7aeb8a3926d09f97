package netem

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// standInVariable makes the test binary the stand-in, where the command cannot be built.
const standInVariable = "NETEM_TEST_STAND_IN"

// standIn is the file of the command, by the name by which it is called.
var standIn string

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "netem-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	standIn = filepath.Join(dir, "tc")
	if emulated() {
		// Not /proc/self/exe, which is nsenter where that calls it.
		self, executable := os.Executable()
		err = errors.Join(executable, os.Symlink(self, standIn), os.Setenv(standInVariable, "1"))
	} else {
		build := exec.Command("go", "build", "-o", standIn, "../../cmd/tc")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "make the stand-in:", err)
		return 1
	}
	return m.Run()
}

// unable ends a test that needs more than it has: skipped for a person, failed
// in CI, where nothing may go unnoticed.
func unable(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// emulated tells whether the kernel test machine runs this, which is many times slower.
func emulated() bool { return os.Getenv("KERNEL_TEST") != "" }

// host is a network namespace with loopback and one interface, eth0.
type host struct {
	ns         netns.NsHandle
	ipv4, ipv6 netip.Addr
}

// pair makes two hosts that are joined by a cable.
func pair(t testing.TB) (a, b *host) {
	t.Helper()
	if os.Geteuid() != 0 {
		unable(t, "needs root for network namespaces")
	}
	if _, err := realTC(); err != nil {
		unable(t, err.Error())
	}
	a = newHost(t, "10.98.0.1", "fd00:98::1")
	b = newHost(t, "10.98.0.2", "fd00:98::2")
	a.do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(b.ns),
		})
	})
	for _, h := range []*host{a, b} {
		h.do(t, func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			eth0, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			for _, address := range []string{h.ipv4.String() + "/24", h.ipv6.String() + "/64"} {
				parsed, err := netlink.ParseAddr(address)
				if err != nil {
					return err
				}
				parsed.Flags = unix.IFA_F_NODAD // usable at once
				if err := netlink.AddrAdd(eth0, parsed); err != nil {
					return err
				}
			}
			return errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(eth0))
		})
	}
	for _, h := range []*host{a, b} {
		h.do(t, carries)
	}
	return a, b
}

// carries waits until the thread's eth0 sends: the kernel may take a second to notice that the
// other end is up. What it drops until then is the question for an address, which is asked again
// only a second later.
func carries() error {
	const within = 10 * time.Second
	for until := time.Now().Add(within); ; <-time.After(time.Millisecond) {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil || eth0.Attrs().OperState == netlink.OperUp {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("eth0 is %v after %v", eth0.Attrs().OperState, within)
		}
	}
}

func newHost(t testing.TB, ipv4, ipv6 string) *host {
	t.Helper()
	h := &host{ipv4: netip.MustParseAddr(ipv4), ipv6: netip.MustParseAddr(ipv6)}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and end the thread with its namespace
		var err error
		h.ns, err = netns.New()
		made <- err
	}()
	if err := <-made; err != nil {
		unable(t, "needs a network namespace: "+err.Error())
	}
	t.Cleanup(func() {
		if err := h.ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// try runs f in the host's namespace.
func (h *host) try(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and end the thread with its namespace
		if err := netns.Set(h.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (h *host) do(t testing.TB, f func() error) {
	t.Helper()
	if err := h.try(f); err != nil {
		t.Fatal(err)
	}
}

// result is what a command said.
type result struct {
	status   int
	out, err string
}

// tc calls the stand-in on the host.
func (h *host) tc(t testing.TB, args ...string) result {
	t.Helper()
	return h.command(t, standIn, args...)
}

// command runs a command on the host.
func (h *host) command(t testing.TB, name string, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	var status int
	h.do(t, func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = &out, &errOut
		err := cmd.Run()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			status, err = exit.ExitCode(), nil
		}
		return err
	})
	return result{status, out.String(), errOut.String()}
}

// listen opens a UDP socket on the host.
func (h *host) listen(t testing.TB, address netip.Addr) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	h.do(t, func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0)))
		return err
	})
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}
