package iofault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReleasedTodaGoesFirst has a toda in PATH that needs a library of the daemon's image: it is executed
// inside, with the daemon's arguments.
func TestReleasedTodaGoesFirst(t *testing.T) {
	c := start(t, "idle")
	dir := t.TempDir()
	source := filepath.Join(dir, "toda.c")
	if err := os.WriteFile(source, []byte(`#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
	char ns[64];
	ssize_t n = readlink("/proc/self/ns/mnt", ns, sizeof ns);
	printf("%.*s %s %s\n", (int)n, ns, argv[1], argv[2]);
	return argc != 5;
}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", filepath.Join(dir, "toda"), source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Symlink(entrancePath, entrance); err != nil {
		t.Skip("the library's place is taken: ", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(entrance); err != nil {
			t.Error(err)
		}
	})
	ns := fmt.Sprintf("/proc/%d/ns/", c.init.Process.Pid)
	cmd := exec.Command(nsexecPath, "-l", "-p", ns+"pid", "-m", ns+"mnt", "--", todaPath, "--path", c.volume, "--verbose", "info")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(todaPath)+":"+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	inside, err := os.Readlink(ns + "mnt")
	if err != nil {
		t.Fatal(err)
	}
	if want := inside + " --path " + c.volume + "\n"; string(out) != want {
		t.Errorf("it says %q, want %q", out, want)
	}
}

// TestDescriptionsStaySharedBetweenProcesses moves two processes that write through one open file
// description, as a shell's commands do.
func TestDescriptionsStaySharedBetweenProcesses(t *testing.T) {
	c := start(t, "sharer")
	both := children(t, c.init.Process.Pid)
	if len(both) != 2 {
		t.Fatalf("children: %v", both)
	}
	same := func() bool {
		r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(both[0]), uintptr(both[1]), 0, 1, 1, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		return r == 0
	}
	if !same() {
		t.Fatal("they share nothing to begin with")
	}
	for range 3 {
		p := c.inject(t)
		p.mustUpdate(t)
		c.onLayer(t, true)
		if !same() {
			t.Error("on the layer each has a description of its own")
		}
		p.recover(t)
		if !same() {
			t.Error("back on the volume each has a description of its own")
		}
	}
	c.ends(t)
	b, err := os.ReadFile(filepath.Join(c.volume, "shared"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line != "aaaaaaa\n" && line != "bbbbbbb\n" {
			t.Fatalf("a line is %q", line)
		}
	}
}

// TestDatabaseKeepsWhatItAcknowledgesUnderFaults lets writes and syncs of a bbolt database fail until it notices. It
// must not go on then, on any file system: a meta page whose sync failed can be read.
func TestDatabaseKeepsWhatItAcknowledgesUnderFaults(t *testing.T) {
	c := start(t, "acknowledger")
	p := c.inject(t)
	p.mustUpdate(t)
	kept := uint64(0)
	for line := c.say(t, "go"); line != "failed"; line = c.line(t) {
		if kept++; kept == 20 { // the first commit may fail, too, and then nothing is kept
			p.mustUpdate(t,
				Action{Type: "fault", Methods: []string{"write", "fsync"}, Percent: 1, Faults: []Fault{{uint32(unix.EIO), 1}, {uint32(unix.ENOSPC), 1}}},
				Action{Type: "latency", Methods: []string{"read"}, Percent: 1, Latency: "1ms"})
		}
	}
	p.recover(t)
	if err := c.init.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.ended
	c.databaseHas(t, kept)
}

// TestReadFaultReachesAMapping reads through a mapping what the disk does not give: SIGBUS.
func TestReadFaultReachesAMapping(t *testing.T) {
	c := start(t, "peeker")
	p := c.inject(t)
	p.mustUpdate(t)
	if line := c.say(t, "look"); line != "42" {
		t.Fatal(line)
	}
	p.mustUpdate(t, Action{Type: "fault", Methods: []string{"read"}, Percent: 100, Faults: []Fault{{uint32(unix.EIO), 1}}})
	if line := c.say(t, "look"); line != "SIGBUS" {
		t.Errorf("with a fault the mapping has %s", line)
	}
	p.mustUpdate(t)
	if line := c.say(t, "look"); line != "42" {
		t.Errorf("without it again the mapping has %s", line)
	}
	p.recover(t)
	if line := c.say(t, "look"); line != "42" {
		t.Errorf("after recovery the mapping has %s", line)
	}
}
