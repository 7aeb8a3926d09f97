package journal

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

// TestFullDisk: while there is no room, readers miss nothing; afterwards the
// file goes on, without half lines, and the next run reads it.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "mesh-test", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	j := open(t, dir, &log)
	const n = 60
	write := func() {
		for range n {
			j.Append(event.Entry{Phase: event.Monitor, Kind: "k", Detail: map[string]string{"d": strings.Repeat("x", 900)}})
		}
	}
	write()
	j.Flush()
	if got := strings.Count(log.String(), "not written to disk"); got != 1 {
		t.Errorf("said %d times that the disk is full", got)
	}
	if got := j.After(0, 1000); len(got) != n || got[n-1].Seq != n {
		t.Errorf("%d entries for readers", len(got))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	j.Append(event.Entry{Phase: event.Monitor, Kind: "room"})
	j.Flush()
	if !strings.Contains(log.String(), "written to disk again") {
		t.Error("the disk's recovery is not logged")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, &log)
	kept := j.After(0, 1000)
	last := kept[len(kept)-1]
	if len(kept) < 20 || len(kept) > n || last.Kind != "room" || last.Seq != n+1 {
		t.Errorf("%d entries for the next run, the last is %d %q", len(kept), last.Seq, last.Kind)
	}
	before := kept[len(kept)-2].Seq // entries are missing after it
	for _, after := range []uint64{before, before + 1, n} {
		if got := j.After(after, 10); len(got) != 1 || got[0].Seq != n+1 {
			t.Errorf("after %d: %+v", after, got)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEntriesOutOfOrderAreAnError(t *testing.T) {
	for _, content := range []string{"{\"seq\":2}\n{\"seq\":2}\n", "{\"seq\":5}\n{\"seq\":3}\n", "{\"seq\":0}\n", "{\"seq\":18446744073709551615}\n"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, "n0", time.Now, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// FuzzOpen: a file is refused, or the journal goes on after it.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("{\"seq\":1,\"kind\":\"k\"}\n{\"seq\":2}\n{\"seq\":9}\n"), uint64(2))
	f.Add([]byte("{\"seq\":1}\n{\"se"), uint64(0))
	f.Add([]byte("\n"), uint64(7))
	f.Fuzz(func(t *testing.T, content []byte, after uint64) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
		quiet := slog.New(slog.DiscardHandler)
		j, err := Open(dir, "n0", time.Now, quiet)
		if err != nil {
			return
		}
		j.Append(event.Entry{Kind: "new"})
		all := j.After(0, 1<<20)
		for i, e := range j.After(after, 3) {
			if e.Seq <= after || i >= 3 {
				t.Errorf("entry %d after %d", e.Seq, after)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if j, err = Open(dir, "n0", time.Now, quiet); err != nil {
			t.Fatalf("what it wrote is refused: %v", err)
		}
		if again := j.After(0, 1<<20); len(again) != len(all) || again[len(again)-1].Kind != "new" {
			t.Errorf("%d entries, then %d", len(all), len(again))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
