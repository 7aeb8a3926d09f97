package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// programs returns the links of the programs at tcx ingress of a node's eth0.
func (c *cluster) programs(name string) (ids []link.ID, err error) {
	err = inNamespace(c.procs[name].ns, func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		found, err := link.QueryPrograms(link.QueryOptions{Target: eth0.Index, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return err
		}
		for _, p := range found.Programs {
			id, ok := p.LinkID()
			if !ok {
				return errors.New("a program without a link")
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// attached is nil if exactly the verifier is at a node's eth0.
func (c *cluster) attached(name string) error {
	ids, err := c.programs(name)
	if err == nil && len(ids) != 1 {
		err = fmt.Errorf("%d programs at eth0", len(ids))
	}
	return err
}

// readiness asks a node over its own loopback, which no fault touches.
func (c *cluster) readiness(name string) (ready bool, said string, err error) {
	err = inNamespace(c.procs[name].ns, func() (err error) {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", api.MetricsPort))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "GET /readyz HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		answer, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		head, body, _ := strings.Cut(string(answer), "\r\n\r\n")
		ready, said = strings.Contains(head, fmt.Sprint(http.StatusOK)), body
		return nil
	})
	return ready, said, err
}

// waitReady waits until a node is ready, or until it is not, and returns what it says.
func (c *cluster) waitReady(name string, want bool) (said string) {
	c.t.Helper()
	c.within(10*time.Second, fmt.Sprintf("%s ready: %t", name, want), func() error {
		ready, text, err := c.readiness(name)
		if err == nil && ready != want {
			err = fmt.Errorf("it says %q", text)
		}
		said = text
		return err
	})
	return said
}

// TestRealGateIsPutBack takes the program away from a running node: by force, and
// with its interface. The node notices, says why in a line, and puts it back.
func TestRealGateIsPutBack(t *testing.T) {
	c := newCluster(t, "a-0", "a-1")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)
	if err := c.attached("a-0"); err != nil {
		t.Fatalf("the verifier of a running node: %v", err)
	}

	taken := time.Now()
	ids, err := c.programs("a-0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.NewFromID(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Detach(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := c.attached("a-0"); err == nil {
		t.Fatal("nothing was taken away")
	}
	c.within(5*time.Second, "the program is back", func() error { return c.attached("a-0") })
	c.within(5*time.Second, "ready, with the journal's word", func() error {
		for _, kind := range []string{event.VerifierLost, event.VerifierBack} {
			e, err := c.journal("a-0", taken, func(e event.Entry) bool { return e.Kind == kind })
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			if why := e.Detail[event.DetailError]; kind == event.VerifierLost && !strings.Contains(why, "verifier was detached from eth0") {
				t.Errorf("the journal says %q", why)
			}
		}
		return nil
	})
	c.waitReady("a-0", true)
	c.put("a-0", "after", 2)

	// Without an interface there is nothing to put it back to.
	p := c.procs["a-0"]
	c.ip("-n", p.ns, "link", "del", "eth0")
	said := c.waitReady("a-0", false)
	if lines := strings.Split(strings.TrimSpace(said), "\n"); len(lines) != 1 || !strings.Contains(said, "verifier was detached from eth0") {
		t.Errorf("not ready, and says %q, want one line with the reason", said)
	}
	c.ip("-n", c.hub, "link", "add", p.port, "type", "veth", "peer", "name", "eth0", "netns", p.ns)
	c.ip("-n", c.hub, "link", "set", p.port, "master", "br0", "up")
	c.ip("-n", p.ns, "addr", "add", p.ip+"/24", "dev", "eth0")
	c.ip("-n", p.ns, "link", "set", "eth0", "up")
	c.waitReady("a-0", true)
	if err := c.attached("a-0"); err != nil {
		t.Errorf("ready without the program: %v", err)
	}
	c.within(20*time.Second, "every pair verified again", c.whole)
	c.put("a-0", "at-last", 2)
}
