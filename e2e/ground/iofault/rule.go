package iofault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// rule is an action that was checked.
type rule struct {
	pattern string
	methods []Method
	percent int

	latency time.Duration
	faults  []Fault
	weight  int // of all faults
	attr    *Attr
	mistake *Mistake
}

// concerns tells whether r can act on the method of the path at all.
func (r *rule) concerns(m Method, path string) bool {
	if len(r.methods) > 0 && !slices.Contains(r.methods, m) {
		return false
	}
	// The pattern was validated: no error is left to it.
	return r.pattern == "" || doublestar.MatchUnvalidated(r.pattern, path)
}

// strikes draws whether r acts on a call.
func (r *rule) strikes(m Method, path string) bool {
	return r.concerns(m, path) && rand.IntN(100) < r.percent
}

// rules is what the layer does at a time.
type rules struct {
	list []rule
	over chan struct{} // closed when others took their place: who waits goes on
}

func newRules(actions []Action) (*rules, error) {
	rs := &rules{over: make(chan struct{})}
	for i, a := range actions {
		r, err := a.compile()
		if err != nil {
			return nil, fmt.Errorf("action %d (%s): %w", i+1, a.Type, err)
		}
		rs.list = append(rs.list, r)
	}
	return rs, nil
}

// before waits and returns the error that the rules want for a thread's call, in their
// order. An interrupted caller waits all the same, as for a disk.
func (rs *rules) before(m Method, path string, thread int) syscall.Errno {
	for i := range rs.list {
		r := &rs.list[i]
		if r.latency == 0 && len(r.faults) == 0 || !r.strikes(m, path) {
			continue
		}
		if r.latency > 0 && !rs.wait(r.latency, thread) {
			return 0
		}
		draw := rand.IntN(max(r.weight, 1))
		for _, f := range r.faults {
			if draw -= int(f.Weight); draw < 0 {
				return syscall.Errno(f.Errno)
			}
		}
	}
	return 0
}

// wait waits for a latency. It returns early, and false, if the rules are over or the thread is
// about to be killed: the kernel does not let it die before it has an answer, which nobody hears then.
func (rs *rules) wait(latency time.Duration, thread int) bool {
	late := time.NewTimer(latency)
	defer late.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-late.C:
			return true
		case <-rs.over:
			return false
		case <-look.C:
			if killed(thread) {
				return false
			}
		}
	}
}

// killed tells whether a SIGKILL waits for a thread.
func killed(thread int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return false // a thread that the kernel does not name, or of another namespace
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "SigPnd" && key != "ShdPnd" {
			continue
		}
		if pending, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil && pending&(1<<(syscall.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

// spoil puts mistakes into what is read or written and tells whether it did.
func (rs *rules) spoil(m Method, path string, data []byte) (spoiled bool) {
	for i := range rs.list {
		r := &rs.list[i]
		if r.mistake == nil || len(data) == 0 || !r.strikes(m, path) {
			continue
		}
		for range 1 + rand.Int64N(r.mistake.MaxOccurrences) {
			at := rand.IntN(len(data))
			segment := data[at:min(at+1+int(rand.Int64N(r.mistake.MaxLength)), len(data))]
			for j := range segment {
				segment[j] = 0
				if r.mistake.Filling == "random" {
					segment[j] = byte(rand.Uint32())
				}
			}
		}
		spoiled = true
	}
	return spoiled
}

// mistaken tells whether mistakes can be put into the method's data.
func (rs *rules) mistaken(m Method, path string) bool {
	return slices.ContainsFunc(rs.list, func(r rule) bool { return r.mistake != nil && r.concerns(m, path) })
}

// observed tells whether anything can happen to the method: it must then reach the layer
// each time, and not end in the kernel's cache.
func (rs *rules) observed(m Method, path string) bool {
	return slices.ContainsFunc(rs.list, func(r rule) bool { return r.attr == nil && r.concerns(m, path) })
}

// override is what the attributes of a path are to be, in the order in which to set them.
func (rs *rules) override(m Method, path string) (attrs []*Attr) {
	for i := range rs.list {
		if r := &rs.list[i]; r.attr != nil && r.strikes(m, path) {
			attrs = append(attrs, r.attr)
		}
	}
	return attrs
}

// set puts a's values into out.
func (a *Attr) set(out *fuse.Attr) {
	put(&out.Ino, a.Ino)
	put(&out.Size, a.Size)
	put(&out.Blocks, a.Blocks)
	for _, t := range []struct {
		sec  *uint64
		nsec *uint32
		to   *Timespec
	}{{&out.Atime, &out.Atimensec, a.Atime}, {&out.Mtime, &out.Mtimensec, a.Mtime}, {&out.Ctime, &out.Ctimensec, a.Ctime}} {
		if t.to != nil {
			*t.sec, *t.nsec = uint64(t.to.Sec), uint32(t.to.Nsec)
		}
	}
	if a.Kind != nil {
		out.Mode = out.Mode&^syscall.S_IFMT | kinds[*a.Kind]
	}
	if a.Perm != nil {
		out.Mode = out.Mode&^0o7777 | uint32(*a.Perm)&0o7777
	}
	put(&out.Nlink, a.Nlink)
	put(&out.Uid, a.UID)
	put(&out.Gid, a.GID)
	put(&out.Rdev, a.Rdev)
}

func put[T any](at, value *T) {
	if value != nil {
		*at = *value
	}
}
