package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)

func open(t *testing.T, dir string, log *bytes.Buffer) *Journal {
	t.Helper()
	j, err := Open(dir, "n0", func() time.Time { return at }, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAppendReadAndContinue(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	j := open(t, dir, &log)
	for range 3 {
		j.Append(event.Entry{Incident: "i1", Phase: event.Analyze, Kind: "network_partition", Detail: map[string]string{"peers": "b"}})
	}
	if got := j.After(1, 10); len(got) != 2 || got[0].Seq != 2 || got[1].Node != "n0" {
		t.Fatalf("after 1: %+v", got)
	}
	if got := j.After(0, 2); len(got) != 2 || got[0].Seq != 1 {
		t.Fatalf("two after 0: %+v", got)
	}
	if got := j.After(3, 10); got != nil {
		t.Fatalf("after the last: %+v", got)
	}
	if n := strings.Count(log.String(), `"incident":"i1"`); n != 3 {
		t.Errorf("%d log lines, want 3", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatal(err)
	}
	if m["time"] != "2026-01-02T03:04:05.678901234Z" || m["seq"] != 1.0 || m["phase"] != "analyze" {
		t.Errorf("line %s", line)
	}
	// A crash tears the last line.
	if err := os.WriteFile(filepath.Join(dir, file), b[:len(b)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	j = open(t, dir, &log)
	if !strings.Contains(log.String(), "torn") {
		t.Error("a torn line is not reported")
	}
	j.Append(event.Entry{Phase: event.Monitor, Kind: event.PeerReturned})
	got := j.After(0, 10)
	if len(got) != 3 || got[2].Seq != 3 || got[2].Kind != event.PeerReturned {
		t.Fatalf("after a torn line: %+v", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	if es, err := event.Read(f); err != nil || len(es) != 3 {
		t.Errorf("reading the file back: %d entries, %v", len(es), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, file), []byte("{\"seq\":1}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, "n0", time.Now, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "entry after 1 is damaged") {
		t.Fatalf("error %v", err)
	}
}

// TestAHoleIsPassedOver: a machine that stopped may have written a later entry to its
// disk and not an earlier one.
func TestAHoleIsPassedOver(t *testing.T) {
	for _, lost := range [][2]int{{1, 2}, {2, 3}, {1, 3}} { // entries
		dir := t.TempDir()
		var log bytes.Buffer
		j := open(t, dir, &log)
		for range 4 {
			j.Append(event.Entry{Kind: "k"})
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(b, []byte("\n"))
		first := len(bytes.Join(lines[:lost[0]-1], nil))
		clear(b[first : first+len(bytes.Join(lines[lost[0]-1:lost[1]-1], nil))])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		j = open(t, dir, &log)
		j.Append(event.Entry{Kind: "next"})
		// A hole takes the end of its last line with it, and so the next entry.
		got := j.After(0, 10)
		if want := 4 - (lost[1] - lost[0]); len(got) != want || got[len(got)-1].Seq != 5 {
			t.Errorf("entries %v lost: %+v, want %d", lost, got, want)
		}
		if !strings.Contains(log.String(), "before entries were on its disk") {
			t.Error("the hole is not reported")
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemoryAndFileAreBounded(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, "n0", time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 1000)
	const n = 3 * keep
	for range n {
		j.Append(event.Entry{Phase: event.Monitor, Kind: "k", Detail: map[string]string{"d": big}})
	}
	got := j.After(0, n)
	if len(got) < keep || len(got) > 2*keep || got[len(got)-1].Seq != n {
		t.Errorf("%d entries kept, last %d", len(got), got[len(got)-1].Seq)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Seq != got[i-1].Seq+1 {
			t.Fatalf("gap after %d", got[i-1].Seq)
		}
	}
	if j.After(5, 1)[0].Seq != got[0].Seq {
		t.Error("a reader that is too late does not get the oldest entry")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > maxFile {
		t.Errorf("file of %d bytes", st.Size())
	}
	if j, err = Open(dir, "n0", time.Now, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if j.Append(event.Entry{}); j.After(n, 1)[0].Seq != n+1 {
		t.Error("numbers do not continue after a rotation")
	}
}

// TestNobodyWaitsForTheDisk: entries that wait for a slow disk are there for readers, Run writes them in order,
// and what is too much for memory is left out of the file, the oldest first.
func TestNobodyWaitsForTheDisk(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(dir, "n0", time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	j.disk.Lock() // as a write that hangs
	const n = 2*keep + 10
	for range n {
		j.Append(event.Entry{Kind: "k"})
	}
	if got := j.After(n-1, 10); len(got) != 1 || got[0].Seq != n {
		t.Errorf("readers get %+v", got)
	}
	j.disk.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		j.Run(ctx)
		close(ended)
	}()
	for !strings.Contains(content(t, dir), fmt.Sprintf(`{"seq":%d,`, n)) { // until the test's deadline
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	j.Append(event.Entry{Kind: "after Run"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := event.Read(strings.NewReader(content(t, dir)))
	if err != nil || len(entries) != keep+10+1 || entries[0].Seq != n-keep-10+1 || entries[len(entries)-1].Kind != "after Run" {
		t.Errorf("%d entries in the file, %v", len(entries), err)
	}
}

func content(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
