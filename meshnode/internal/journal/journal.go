// Package journal keeps a node's append-only journal: in memory for readers, in
// a file of JSON lines for the next run, and in the log for people.
package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
)

const (
	// keep is how many entries readers can go back.
	keep = 8192
	// maxFile is the size in bytes at which a new file is begun; the one before
	// it is kept.
	maxFile = 8 << 20
	file    = "journal.jsonl"
	oldFile = "journal.1.jsonl"
)

// Journal is safe for concurrent use.
type Journal struct {
	node   string
	dir    string
	clock  func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	f       *os.File
	size    int64
	seq     uint64
	entries []event.Entry // the newest, in order
	broken  bool          // the file could not be written; said once
}

// Open continues the journal in dir, which must exist; an empty dir keeps it in
// memory only. A last line that a crash tore is cut off and reported.
func Open(dir, node string, clock func() time.Time, logger *slog.Logger) (*Journal, error) {
	j := &Journal{node: node, dir: dir, clock: clock, logger: logger}
	if dir == "" {
		return j, nil
	}
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := j.load(f); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), f.Close())
	}
	j.f = f
	return j, nil
}

// load reads what is there and leaves f at the end of the last whole line.
func (j *Journal) load(f *os.File) error {
	r := bufio.NewReader(f)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				j.logger.Warn("journal: cut off a torn last line", "bytes", len(line))
			}
			break
		}
		if err != nil {
			return err
		}
		var e event.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("entry after %d is damaged: %w; move the file away to start anew", j.seq, err)
		}
		j.size += int64(len(line))
		j.remember(e)
	}
	if err := f.Truncate(j.size); err != nil {
		return err
	}
	_, err := f.Seek(j.size, io.SeekStart)
	return err
}

func (j *Journal) remember(e event.Entry) {
	j.seq = e.Seq
	if len(j.entries) >= 2*keep {
		j.entries = append(j.entries[:0], j.entries[len(j.entries)-keep:]...)
	}
	j.entries = append(j.entries, e)
}

// Append numbers, stamps, keeps and logs an entry. A file that cannot be
// written costs the next run its past, not this run its journal: it is logged.
func (j *Journal) Append(e event.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Seq, e.Time, e.Node = j.seq+1, j.clock().UTC().Round(0), j.node
	j.remember(e)
	attrs := []slog.Attr{slog.Uint64("seq", e.Seq), slog.String("phase", string(e.Phase)), slog.String("kind", e.Kind)}
	for _, a := range []struct{ k, v string }{{"incident", e.Incident}, {"subject", e.Subject}} {
		if a.v != "" {
			attrs = append(attrs, slog.String(a.k, a.v))
		}
	}
	for k, v := range e.Detail {
		attrs = append(attrs, slog.String(k, v))
	}
	j.logger.LogAttrs(context.Background(), slog.LevelInfo, "journal", attrs...)
	if j.f == nil {
		return
	}
	if err := j.write(e); err != nil && !j.broken {
		j.broken = true
		j.logger.Error("journal: not written to disk any more", "error", err)
	}
}

func (j *Journal) write(e event.Entry) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(e); err != nil {
		return err
	}
	if j.size+int64(b.Len()) > maxFile {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	n, err := j.f.Write(b.Bytes())
	j.size += int64(n)
	return err
}

func (j *Journal) rotate() error {
	if err := j.f.Close(); err != nil {
		return err
	}
	path := filepath.Join(j.dir, file)
	if err := os.Rename(path, filepath.Join(j.dir, oldFile)); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	j.f, j.size = f, 0
	return nil
}

// After returns the entries after number n, at most max, oldest first.
func (j *Journal) After(n uint64, max int) []event.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == 0 || n >= j.seq {
		return nil
	}
	start := 0
	if first := j.entries[0].Seq; n >= first {
		start = int(n - first + 1)
	}
	end := min(start+max, len(j.entries))
	return append([]event.Entry(nil), j.entries[start:end]...)
}

// Close flushes the journal to disk.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return errors.Join(f.Sync(), f.Close())
}
