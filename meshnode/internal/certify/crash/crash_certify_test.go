package crash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/certify"
	"github.com/x0tta6bl4/mesh/meshnode/internal/journal"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// workDir is the variable that makes this program the one that is recorded.
const workDir = "MESH_CRASH_WORK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workDir); dir != "" {
		if err := work(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var replicas = []string{"a", "b", "c"}

// clock is that of the recorded program, so that every recording is the same.
func clock() func() time.Time {
	now := time.Unix(1e9, 0)
	return func() time.Time { now = now.Add(time.Second); return now }
}

// operation is a client's write to a replica, which another one confirms; the third
// has the record a little later.
type operation struct {
	id, at, with, later string
	size                int
}

// operations have small records, some of several pages, and enough of them that pages
// split and the file grows.
func operations() []operation {
	var all []operation
	for i, size := range []int{10, 300, 9000, 0, 4000, 20000, 50, 1500} {
		r := []string{replicas[i%3], replicas[(i+1)%3], replicas[(i+2)%3]}
		all = append(all, operation{fmt.Sprintf("record-%d", i), r[0], r[1], r[2], size})
	}
	return all
}

func (o operation) body() []byte { return bytes.Repeat([]byte{o.id[len(o.id)-1]}, o.size) }

// stamp is a store.Notary without cryptography, so that every run writes the same.
type stamp string

func (s stamp) Sign(statement []byte) (certificate, signature []byte) {
	sum := sha256.Sum256(append([]byte(s), statement...))
	return []byte(s), bytes.Repeat(sum[:], 100) // about as long as ML-DSA's
}

func (stamp) Trust() any { return nil }

func (stamp) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	return string(certificate), func(statement, signature []byte) bool {
		_, good := stamp(certificate).Sign(statement)
		return bytes.Equal(signature, good)
	}, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// work is the fixed workload: three stores with their journals, one after the other.
// "acked" is said when a record is on two disks.
func work(dir string) error {
	stores, journals := map[string]*store.Store{}, map[string]*journal.Journal{}
	now := clock()
	for _, r := range replicas {
		path := filepath.Join(dir, r)
		var err error
		if stores[r], err = store.Open(path, r, stamp(r), now); err != nil {
			return err
		}
		if journals[r], err = journal.Open(path, r, now, quiet()); err != nil {
			return err
		}
	}
	for _, o := range operations() {
		rec, _, err := stores[o.at].Put(o.id, o.body())
		if err != nil {
			return err
		}
		journals[o.at].Append(event.Entry{Kind: o.id})
		journals[o.at].Flush()
		if _, err := stores[o.with].Add(rec); err != nil {
			return err
		}
		fmt.Println("acked " + o.id)
		if _, err := stores[o.later].Add(rec); err != nil {
			return err
		}
	}
	for _, r := range replicas {
		if err := errors.Join(stores[r].SaveKnowledge([]byte("{}")), journals[r].Close(), stores[r].Close()); err != nil {
			return err
		}
	}
	return nil
}

// record records the workload.
func record(t *testing.T) (string, []Call) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replicas {
		if err := os.Mkdir(filepath.Join(dir, r), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workDir+"="+dir)
	calls, err := Record(ctx, dir, cmd)
	if err != nil {
		t.Fatal(err)
	}
	// What was recorded must be all: played again it gives the files that are there.
	d := Disk{}
	for _, c := range calls {
		d.apply(c)
	}
	for _, r := range replicas {
		for _, name := range []string{store.File, "journal.jsonl"} {
			path := filepath.Join(dir, r, name)
			if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, d[path]) {
				t.Fatalf("%s: %d bytes are there, %d were recorded: %v", path, len(b), len(d[path]), err)
			}
		}
	}
	return dir, calls
}

// memory is a directory that is fast to flush.
func memory(t *testing.T) string {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm")
	}
	return t.TempDir()
}

// crashes goes through the stops of one replica, or of all at once.
type crashes struct {
	t      *testing.T
	dir    string // of the recording
	calls  []Call
	tmp    string
	counts map[string]int
	digest [sha256.Size]byte
	wrong  map[string]string // first case of each
}

func (c *crashes) fail(s Stop, who, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if _, known := c.wrong[what]; !known {
		next := "the end"
		if s.Point < len(c.calls) {
			next = c.calls[s.Point].String()
		}
		c.wrong[what] = fmt.Sprintf("%s stops at call %d, before or in %s; left is %s", who, s.Point, next, s.What)
	}
}

// acked returns the records that were acknowledged before a call.
func (c *crashes) acked(point int) map[string]bool {
	acked := map[string]bool{}
	for _, call := range c.calls[:point] {
		if id, ok := strings.CutPrefix(strings.TrimSpace(string(call.Data)), "acked "); ok && call.Kind == "say" {
			acked[id] = true
		}
	}
	return acked
}

// recover starts the replicas from their disks, lets each tell the others what it has,
// lets the client whose answer got lost ask again, and looks at what is there.
func (c *crashes) recover(s Stop, who string, d Disk) {
	c.counts["stops"]++
	if s.Machine {
		c.counts["stops of a machine"]++
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", who, s.Point, strings.ReplaceAll(s.What, c.dir, "")))
	for i, b := range h {
		c.digest[i] ^= b
	}
	if err := os.RemoveAll(c.tmp); err != nil {
		c.t.Fatal(err)
	}
	stores := map[string]*store.Store{}
	now := clock()
	for _, r := range replicas {
		path := filepath.Join(c.tmp, r)
		if err := os.MkdirAll(path, 0o700); err != nil {
			c.t.Fatal(err)
		}
		for from, b := range d {
			if filepath.Dir(from) == filepath.Join(c.dir, r) {
				if err := os.WriteFile(filepath.Join(path, filepath.Base(from)), b, 0o600); err != nil {
					c.t.Fatal(err)
				}
			}
		}
		st, err := store.Open(path, r, stamp(r), now)
		if err != nil {
			c.fail(s, who, "the store does not open: %v", strip(err, c.tmp))
			continue
		}
		stores[r] = st
		defer func() {
			if err := st.Close(); err != nil {
				c.t.Error(err)
			}
		}()
		j, err := journal.Open(path, r, now, quiet())
		if err != nil {
			c.fail(s, who, "the journal does not open: %v", strip(err, c.tmp))
			continue
		}
		c.judgeJournal(s, who, r, j)
		if err := j.Close(); err != nil {
			c.t.Error(err)
		}
	}
	if len(stores) == len(replicas) {
		bubble.Test(c.t, func(t *testing.T) { c.judge(t, s, who, stores) })
	}
}

func strip(err error, dir string) string { return strings.ReplaceAll(err.Error(), dir, "") }

// judgeJournal: when only the process stopped, every entry is there that it had written.
func (c *crashes) judgeJournal(s Stop, who, r string, j *journal.Journal) {
	want := 0
	path := filepath.Join(c.dir, r, "journal.jsonl")
	for _, call := range c.calls[:s.Point] {
		if call.Kind == "write" && call.Path == path {
			want++
		}
	}
	entries := j.After(0, 1000)
	if !s.Machine && len(entries) < want {
		c.fail(s, who, "the journal has lost entries that were written")
	}
	if len(entries) > want+1 {
		c.fail(s, who, "the journal has entries that were not written")
	}
	for i, e := range entries {
		if e.Seq != uint64(i+1) && !s.Machine {
			c.fail(s, who, "the journal's numbers have a gap")
		}
	}
}

func (c *crashes) judge(t *testing.T, s Stop, who string, stores map[string]*store.Store) {
	ops := operations()
	network := connect(t, stores)
	spread := func() {
		for _, refused := range network.spread() {
			c.fail(s, who, "%s", refused)
		}
	}
	look := func(when string, want func(id string) bool) {
		for _, r := range replicas {
			list, err := stores[r].List("", 1000)
			if err != nil {
				c.fail(s, who, "the records cannot be listed: %v", err)
			}
			seen := map[string]int{}
			places := map[string]bool{}
			for _, rec := range list {
				seen[rec.ID]++
				i := slices.IndexFunc(ops, func(o operation) bool { return o.id == rec.ID })
				if i < 0 || !bytes.Equal(rec.Body, ops[i].body()) {
					c.fail(s, who, "%s: a record has content that nobody sent", when)
				}
				place := fmt.Sprint(rec.Origin, " ", rec.Seq)
				if places[place] {
					c.fail(s, who, "%s: two records have one number", when)
				}
				places[place] = true
			}
			for _, o := range ops {
				if want(o.id) && seen[o.id] != 1 {
					c.fail(s, who, "%s: an acknowledged record is there %d times", when, seen[o.id])
				}
				if seen[o.id] > 1 {
					c.fail(s, who, "%s: a record is there %d times", when, seen[o.id])
				}
			}
		}
	}
	acked := c.acked(s.Point)
	spread()
	look("after recovery", func(id string) bool { return acked[id] })
	for _, o := range ops {
		if acked[o.id] {
			continue
		}
		// The client asks again, also elsewhere.
		if _, _, err := stores[o.with].Put(o.id, o.body()); err != nil {
			c.fail(s, who, "asked again: %v", err)
		}
		break
	}
	var next string
	for _, o := range ops {
		if !acked[o.id] {
			next = o.id
			break
		}
	}
	spread()
	look("after the client asked again", func(id string) bool { return acked[id] || id == next })
}

// others is what the replicas that go on have on their disks when one stops at a call.
func (c *crashes) others(point int) Disk {
	d := Disk{}
	for _, call := range c.calls[:point] {
		d.apply(call)
	}
	return d
}

// TestEveryCrashPoint enumerates: without MESH_CERTIFY only the stops at one record.
func TestEveryCrashPoint(t *testing.T) {
	cert, err := certify.Certificate{
		Name: "crash",
		Claim: "Wherever a process or a machine stops while it writes: store and journal open again, every acknowledged record is on every replica exactly once and with its content, " +
			"and so is the one whose client asked again; the journal has all that was written when only the process stopped.",
		Space: "A fixed workload of eight records on three replicas. Before, in and after each of its system calls on files, on each replica and on all at once; of a machine, with each write " +
			"since the last flush lost alone, kept alone, or cut short, or all lost.",
		Packages: []string{"github.com/x0tta6bl4/mesh/meshnode/internal/certify/crash"},
		Tests:    []string{"*_certify_test.go"},
	}.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("strace"); err != nil && !certify.Full() && os.Getenv("CI") != "true" {
		t.Skip("needs strace to see the system calls of a program")
	}
	dir, calls := record(t)
	c := &crashes{t: t, dir: dir, calls: calls, tmp: filepath.Join(memory(t), "recovered"), counts: map[string]int{}, wrong: map[string]string{}}
	kinds := map[string]int{}
	for _, call := range calls {
		kinds[call.Kind]++
	}
	from, through := 0, len(calls)
	if !certify.Full() {
		said := 0
		for i, call := range calls {
			if call.Kind == "say" {
				if said++; said == 3 {
					from = i
				}
				if said == 4 {
					through = i
				}
			}
		}
	}
	within := func(s Stop) bool { return s.Point >= from && s.Point <= through }
	for _, r := range replicas {
		mine := func(path string) bool { return strings.HasPrefix(path+"/", filepath.Join(dir, r)+"/") }
		Stops(calls, mine, func(s Stop) bool {
			if within(s) {
				d := c.others(s.Point)
				for path := range d {
					if mine(path) {
						delete(d, path)
					}
				}
				for path, b := range s.Disk {
					d[path] = b
				}
				c.recover(s, r, d)
			}
			return true
		})
	}
	Stops(calls, func(string) bool { return true }, func(s Stop) bool {
		if within(s) {
			c.recover(s, "every replica", s.Disk)
		}
		return true
	})
	t.Logf("system calls %v, %v", kinds, c.counts)
	for what, first := range c.wrong {
		t.Errorf("%s: %s", what, first)
	}
	if c.counts["stops"] < 50 {
		t.Errorf("only %d stops: nothing was enumerated", c.counts["stops"])
	}
	if !certify.Full() || t.Failed() {
		return
	}
	for k, n := range kinds {
		c.counts["calls: "+k] = n
	}
	cert.Digest = hex.EncodeToString(c.digest[:])
	cert.Parts = []certify.Part{{Name: "store and journal", Counts: c.counts}}
	if err := cert.Write("../../../certificates"); err != nil {
		t.Fatal(err)
	}
}
