package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestNewAuthority: the authority is replaced by one with a new root. Nodes that
// run and one that comes later make one mesh.
func TestNewAuthority(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "b-0")
	all := c.names
	c.names = all[:2]
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "two nodes verified", c.whole)
	c.stop("ca")
	if err := os.RemoveAll(filepath.Join(c.dir, "authority")); err != nil {
		t.Fatal(err)
	}
	c.startAuthority()
	c.names = all
	c.start("b-0")
	took := c.within(30*time.Second, "three nodes verified", c.whole)
	t.Logf("one mesh under the new root after %v", took.Round(time.Millisecond))
}
