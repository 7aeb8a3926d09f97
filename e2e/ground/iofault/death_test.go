package iofault

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNothingIsLeftWhenSomebodyDies kills who takes part, while a process writes. If it is the
// server, writes under way can fail; otherwise none does.
func TestNothingIsLeftWhenSomebodyDies(t *testing.T) {
	for name, kill := range map[string]func(t *testing.T, p *process) error{
		"guardian": func(t *testing.T, p *process) error { return unix.Kill(p.guardian(t), unix.SIGKILL) },
		"nsexec":   func(_ *testing.T, p *process) error { return p.cmd.Process.Kill() },
		"daemon":   func(_ *testing.T, p *process) error { return p.rpc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "writer")
			p := c.inject(t)
			p.mustUpdate(t, Action{Type: "latency", Methods: []string{"getattr"}, Percent: 100, Latency: "1ms"})
			server := p.server(t)
			c.onLayer(t, true)
			if err := kill(t, p); err != nil {
				t.Fatal(err)
			}
			p.wait(t)
			eventually(t, "the layer is gone", func() bool { return !c.layered(t) })
			eventually(t, "the server is gone", func() bool { return ended(server) })
			c.onLayer(t, false)
			turns := c.ends(t)
			c.hasNumbers(t, "numbers", turns[0])
			c.hasNumbers(t, "appended", turns[1])
		})
	}
}

func TestNothingIsLeftWhenTheServerDies(t *testing.T) {
	c := start(t, "retrier")
	p := c.inject(t)
	p.mustUpdate(t)
	c.onLayer(t, true)
	if err := unix.Kill(p.server(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
	if c.layered(t) {
		t.Error("the layer is left")
	}
	c.onLayer(t, false)
	turns := c.ends(t)
	c.hasNumbers(t, "numbers", turns[0])
}

func TestTodaEndsWithItsTarget(t *testing.T) {
	c := start(t, "writer")
	p := c.inject(t)
	p.mustUpdate(t, Action{Type: "latency", Methods: []string{"write"}, Percent: 100, Latency: "1h"})
	server := p.server(t)
	if err := c.init.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait(t)
	eventually(t, "the target has ended", func() bool {
		select {
		case <-c.ended:
			return true
		default:
			return false
		}
	})
	eventually(t, "the server is gone", func() bool { return ended(server) })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := parseMounts(string(mounts)); err != nil {
		t.Error(err)
	} else {
		for _, m := range parsed {
			if m.source == Source {
				t.Errorf("a layer is left at %s", m.path)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(c.volume, "numbers")); err != nil {
		t.Error(err)
	}
}

// ended tells whether a process has ended; one that nobody has waited for yet counts.
func ended(pid int) bool { return dead(pid, pid) }
