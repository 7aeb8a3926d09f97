package iofault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Action is an element of the list that Chaos Mesh's daemon sends with `update`: its
// IOChaosAction.
type Action struct {
	Type    string   `json:"type"`
	Path    string   `json:"path"`              // a glob of absolute paths; "" is every one
	Methods []string `json:"methods,omitempty"` // none is every one
	Percent int      `json:"percent"`           // of the calls that match
	Faults  []Fault  `json:"faults,omitempty"`
	Latency string   `json:"latency,omitempty"` // as time.ParseDuration reads it
	Attr
	Mistake *Mistake `json:"mistake,omitempty"`
}

// Fault is an error that a call returns, and how often in proportion to the others.
type Fault struct {
	Errno  uint32 `json:"errno"`
	Weight int32  `json:"weight"`
}

// Attr is what stat(2) is told instead of the truth. What is nil stays true.
type Attr struct {
	Ino    *uint64   `json:"ino,omitempty"`
	Size   *uint64   `json:"size,omitempty"`   // in bytes
	Blocks *uint64   `json:"blocks,omitempty"` // of 512 bytes
	Atime  *Timespec `json:"atime,omitempty"`
	Mtime  *Timespec `json:"mtime,omitempty"`
	Ctime  *Timespec `json:"ctime,omitempty"`
	Kind   *string   `json:"kind,omitempty"`
	Perm   *uint16   `json:"perm,omitempty"`
	Nlink  *uint32   `json:"nlink,omitempty"`
	UID    *uint32   `json:"uid,omitempty"`
	GID    *uint32   `json:"gid,omitempty"`
	Rdev   *uint32   `json:"rdev,omitempty"`
}

// Timespec is a time since 1970.
type Timespec struct {
	Sec  int64 `json:"sec"`
	Nsec int64 `json:"nsec"`
}

// Mistake puts wrong bytes into what is read or written.
type Mistake struct {
	Filling        string `json:"filling,omitempty"`        // "zero" or "random"
	MaxOccurrences int64  `json:"maxOccurrences,omitempty"` // of wrong segments: 1 to this
	MaxLength      int64  `json:"maxLength,omitempty"`      // of each, in bytes: 1 to this
}

var kinds = map[string]uint32{
	"namedPipe": syscall.S_IFIFO, "charDevice": syscall.S_IFCHR, "blockDevice": syscall.S_IFBLK, "directory": syscall.S_IFDIR,
	"regularFile": syscall.S_IFREG, "symlink": syscall.S_IFLNK, "socket": syscall.S_IFSOCK,
}

// compile checks a and returns it as a rule.
func (a Action) compile() (rule, error) {
	r := rule{pattern: literal.Replace(a.Path), percent: a.Percent}
	if !doublestar.ValidatePattern(r.pattern) {
		return rule{}, fmt.Errorf("path %q is no valid pattern", a.Path)
	}
	if a.Percent < 0 || a.Percent > 100 {
		return rule{}, fmt.Errorf("percent is 0 to 100, not %d", a.Percent)
	}
	if err := r.setMethods(a.Methods); err != nil {
		return rule{}, err
	}
	switch a.Type {
	case "latency":
		latency, err := time.ParseDuration(a.Latency)
		if err != nil || latency < 0 {
			return rule{}, fmt.Errorf("latency %q is no duration", a.Latency)
		}
		r.latency = latency
	case "fault":
		for _, f := range a.Faults {
			// 4095 is the kernel's MAX_ERRNO; FUSE refuses from 512 on.
			if f.Errno == 0 || f.Errno >= 512 || f.Weight < 1 {
				return rule{}, fmt.Errorf("a fault has an errno of 1 to 511 and a weight from 1, not %d and %d", f.Errno, f.Weight)
			}
			r.weight += int(f.Weight)
		}
		if r.faults = a.Faults; len(r.faults) == 0 {
			return rule{}, errors.New("faults are missing")
		}
	case "attrOverride":
		if a.Kind != nil && kinds[*a.Kind] == 0 {
			return rule{}, fmt.Errorf("kind %q is not known", *a.Kind)
		}
		if a.Attr == (Attr{}) {
			return rule{}, errors.New("the attributes to override are missing")
		}
		r.attr = &a.Attr
	case "mistake":
		m := a.Mistake
		if m == nil || m.MaxOccurrences < 1 || m.MaxLength < 1 || m.Filling != "zero" && m.Filling != "random" {
			return rule{}, errors.New(`a mistake has a filling ("zero" or "random"), and maxOccurrences and maxLength from 1`)
		}
		r.mistake = m
	default:
		return rule{}, errors.New("the type is not known")
	}
	return r, nil
}

// literal keeps to themselves the characters that mean something to doublestar only and
// nothing in the patterns of toda.
var literal = strings.NewReplacer(`\`, `\\`, `{`, `\{`, `}`, `\}`)

func (r *rule) setMethods(names []string) error {
	for _, name := range names {
		m := Method(strings.ToLower(name))
		if !slices.Contains(methods, m) && !slices.Contains(unasked, m) {
			return fmt.Errorf("method %q is not known", name)
		}
		r.methods = append(r.methods, m)
	}
	if len(r.methods) > 0 && !slices.ContainsFunc(r.methods, func(m Method) bool { return slices.Contains(methods, m) }) {
		return fmt.Errorf("of %v the kernel asks no file system that is mounted as this one is: nothing would happen", names)
	}
	return nil
}
