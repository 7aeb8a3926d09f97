package iofault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatCannotBeMovedIsAnError(t *testing.T) {
	for hold, says := range map[string]string{
		"a deleted file":              "no name any more, so it cannot be opened anew",
		"a changed private mapping":   "a private copy of it was changed",
		"a locked mapping":            "locked in memory",
		"a mapping of a deleted file": "no name any more, so it cannot be mapped anew",
		"a half-read directory":       "the directory is being read",
		"a lease":                     "a LEASE cannot be moved",
		"a pipe":                      "neither a file nor a directory",
		"its root":                    "has its root on the volume",
	} {
		t.Run(hold, func(t *testing.T) {
			c := start(t, "holder", "HOLD="+hold)
			p := c.inject(t)
			if err := p.update(); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("injection says: %v", err)
			}
			if c.layered(t) {
				t.Error("a layer is there all the same")
			}
			c.say(t, "still alive?")
		})
	}
}

func TestVolumesThatCannotBeCovered(t *testing.T) {
	for name, prepare := range map[string]func(c *container) error{
		"no such file":                 func(c *container) error { return os.Remove(c.volume) },
		"is mounted below":             func(c *container) error { return c.mountBelow() },
		"a layer lies over":            nil,
		"not a directory":              func(c *container) error { return c.fileInstead() },
		"would hide the process's own": func(c *container) error { c.volume = "/"; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "idle")
			if prepare == nil {
				first := c.inject(t)
				first.mustUpdate(t)
			} else if err := prepare(c); err != nil {
				t.Skip(err)
			}
			if err := c.inject(t).update(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("injection says: %v", err)
			}
		})
	}
}

// mountBelow mounts something below the volume, inside.
func (c *container) mountBelow() error {
	return c.inside(func() error {
		if err := os.Mkdir(filepath.Join(c.volume, "below"), 0o700); err != nil {
			return err
		}
		return unix.Mount("tmpfs", filepath.Join(c.volume, "below"), "tmpfs", 0, "")
	})
}

// fileInstead names a file as the volume.
func (c *container) fileInstead() error {
	c.volume = filepath.Join(c.volume, "file")
	return os.WriteFile(c.volume, nil, 0o600)
}
