// Package journal keeps a node's append-only journal: in memory for readers, in
// a file of JSON lines for the next run, and in the log for people.
package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
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
	wake   chan struct{} // holds a token while entries wait for Run

	mu      sync.Mutex // never held while the disk works
	seq     uint64
	entries []event.Entry // the newest, in order
	waiting []event.Entry // that are not written yet

	disk   sync.Mutex // guards what follows; held while the disk works
	f      *os.File
	size   int64
	broken bool // the last entries could not be written
}

// Open continues the journal in dir, which must exist; an empty dir keeps it in
// memory only. A last line that a crash tore is cut off and reported, and a hole is passed over that
// a machine left that stopped before it had written all to its disk: entries are not
// flushed one by one.
func Open(dir, node string, clock func() time.Time, logger *slog.Logger) (*Journal, error) {
	j := &Journal{node: node, dir: dir, clock: clock, logger: logger, wake: make(chan struct{}, 1)}
	if dir == "" {
		return j, nil
	}
	path, flags := filepath.Join(dir, file), os.O_RDWR|os.O_CREATE
	if mutant.ForgetJournal {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := j.load(f); err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", path, err), f.Close())
	}
	j.f = f
	return j, nil
}

// load reads what is there and cuts f off after the last whole line.
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
		if bytes.IndexByte(line, 0) >= 0 { // in no entry, for JSON escapes it
			j.logger.Warn("journal: the machine stopped before entries were on its disk", "after", j.seq, "bytes", len(line))
			j.size += int64(len(line))
			continue
		}
		var e event.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("entry after %d is damaged: %w; move the file away to start anew", j.seq, err)
		}
		if e.Seq <= j.seq || e.Seq == math.MaxUint64 {
			return fmt.Errorf("entry %d after %d is damaged; move the file away to start anew", e.Seq, j.seq)
		}
		j.size += int64(len(line))
		j.remember(e)
	}
	return f.Truncate(j.size)
}

func (j *Journal) remember(e event.Entry) {
	j.seq = e.Seq
	if len(j.entries) >= 2*keep {
		j.entries = append(j.entries[:0], j.entries[len(j.entries)-keep:]...)
	}
	j.entries = append(j.entries, e)
}

// Append numbers, stamps, keeps and logs an entry. It does not wait for the disk, to which
// Run or Flush writes it.
func (j *Journal) Append(e event.Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Seq, e.Time, e.Node = j.seq+1, j.clock().UTC().Round(0), j.node
	j.remember(e)
	if j.dir != "" {
		j.await(e)
	}
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
}

// await queues an entry for the disk. Of more than a reader can go back, the oldest are left
// out: the disk has been slow for long.
func (j *Journal) await(e event.Entry) {
	if len(j.waiting) >= 2*keep {
		j.waiting = append(j.waiting[:0], j.waiting[len(j.waiting)-keep:]...)
	}
	j.waiting = append(j.waiting, e)
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Run writes entries as they come until ctx ends.
func (j *Journal) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
			j.Flush()
		}
	}
}

// Flush writes the entries that wait, without waiting until they are safe from a stop of
// the machine. A disk that cannot be written costs the next run these
// entries, not this run its journal: it is logged.
func (j *Journal) Flush() {
	j.disk.Lock()
	defer j.disk.Unlock()
	j.mu.Lock()
	entries := j.waiting
	j.waiting = nil
	j.mu.Unlock()
	for _, e := range entries {
		if j.f == nil {
			return
		}
		err := j.write(e)
		switch {
		case err != nil && !j.broken:
			j.logger.Error("journal: entries are not written to disk", "first", e.Seq, "error", err)
		case err == nil && j.broken:
			j.logger.Info("journal: entries are written to disk again", "first", e.Seq)
		}
		j.broken = err != nil
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
	n, err := j.f.WriteAt(b.Bytes(), j.size)
	if err != nil { // a full disk: leave no half of a line
		return errors.Join(err, j.f.Truncate(j.size))
	}
	j.size += int64(n)
	return nil
}

// rotate begins a new file. It may fail at any step and be tried again.
func (j *Journal) rotate() error {
	path := filepath.Join(j.dir, file)
	if err := os.Rename(path, filepath.Join(j.dir, oldFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	old := j.f
	j.f, j.size = f, 0
	return old.Close()
}

// After returns the entries after number n, at most max, oldest first.
func (j *Journal) After(n uint64, max int) []event.Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	// Numbers are in order; some are missing if the disk was full before a restart.
	start, found := slices.BinarySearchFunc(j.entries, n, func(e event.Entry, n uint64) int { return cmp.Compare(e.Seq, n) })
	if found {
		start++
	}
	end := min(start+max, len(j.entries))
	return append([]event.Entry(nil), j.entries[start:end]...)
}

// Close writes what waits, and waits until all is safe from a stop of the machine.
func (j *Journal) Close() error {
	j.Flush()
	j.disk.Lock()
	defer j.disk.Unlock()
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return errors.Join(f.Sync(), f.Close())
}
