// Package crash enumerates the points at which a process or a machine can stop while
// it writes: it records the system calls of a program and says what each stop may
// leave of its files.
//
// A stop of the process leaves what the calls before it wrote, and a part of the
// write that it comes into. A stop of the machine leaves what was flushed, and of what
// was written to a file since, anything: every single write alone, all but every single
// one, none, with the last in part. A part is a number of whole sectors of 512 bytes. A
// file's name and size are as durable as the file's last flush, as on ext4 and XFS; a
// renamed file has its new name, or its old one until its directory was flushed.
package crash

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Call is a system call that changes a file, or a line that the program says.
type Call struct {
	Kind string // open, write, truncate, flush, rename or say
	Path string
	To   string // of rename
	At   int64  // offset of write, size of truncate
	Data []byte // of write and say
}

func (c Call) String() string {
	switch c.Kind {
	case "write":
		return fmt.Sprintf("write of %d bytes at %d of %s", len(c.Data), c.At, c.Path)
	case "truncate":
		return fmt.Sprintf("truncate to %d of %s", c.At, c.Path)
	}
	return c.Kind + " of " + c.Path
}

// Disk is the content of files by path.
type Disk map[string][]byte

// apply does a call to a disk.
func (d Disk) apply(c Call) {
	switch c.Kind {
	case "open":
		if _, ok := d[c.Path]; !ok {
			d[c.Path] = []byte{}
		}
	case "write":
		f := d[c.Path]
		if need := int(c.At) + len(c.Data) - len(f); need > 0 {
			f = append(slices.Clip(f), make([]byte, need)...)
		} else {
			f = slices.Clone(f)
		}
		copy(f[c.At:], c.Data)
		d[c.Path] = f
	case "truncate":
		f := make([]byte, c.At)
		copy(f, d[c.Path])
		d[c.Path] = f
	case "rename":
		d[c.To] = d[c.Path]
		delete(d, c.Path)
	}
}

// Stop is what a stop leaves.
type Stop struct {
	Point   int    // the call that it comes before, or into
	Machine bool   // and not only the process
	What    string // of what is left
	Disk    Disk
}

// sector is what a disk writes whole or not at all, in bytes.
const sector = 512

// parts returns a write that was cut short: after the first sector, in the middle and
// before the last one.
func parts(c Call) []Call {
	if c.Kind != "write" {
		return nil
	}
	var cut []Call
	sectors := (len(c.Data) + sector - 1) / sector
	for _, n := range slices.Compact([]int{1, sectors / 2, sectors - 1}) {
		if n > 0 && n < sectors {
			p := c
			p.Data = c.Data[:n*sector]
			cut = append(cut, p)
		}
	}
	if len(cut) == 0 && len(c.Data) > 1 { // smaller than a sector: the kernel may still copy half of it
		p := c
		p.Data = c.Data[:len(c.Data)/2]
		cut = append(cut, p)
	}
	return cut
}

// Stops yields every stop within calls, also that after the last, of the files that
// mine reports. Its disks have only those.
func Stops(calls []Call, mine func(path string) bool, yield func(Stop) bool) {
	kernel, flushed := Disk{}, Disk{} // what a process, and a machine, is sure to find
	var loose []Call                  // since
	for point := 0; point <= len(calls); point++ {
		if point > 0 {
			c := calls[point-1]
			if !mine(c.Path) || c.Kind == "say" {
				continue
			}
			kernel.apply(c)
			loose = append(loose, c)
			if c.Kind == "flush" {
				loose = flush(flushed, loose, c.Path)
			}
		}
		var into []Call
		if point < len(calls) && mine(calls[point].Path) {
			into = parts(calls[point])
		}
		if !leave(point, kernel, flushed, loose, into, yield) {
			return
		}
	}
}

// flush applies what is loose of a file and returns the rest.
func flush(flushed Disk, loose []Call, path string) []Call {
	var rest []Call
	for _, c := range loose {
		if c.Path == path || c.Kind == "rename" && filepath.Dir(c.To) == path {
			flushed.apply(c)
		} else {
			rest = append(rest, c)
		}
	}
	return rest
}

func leave(point int, kernel, flushed Disk, loose, into []Call, yield func(Stop) bool) bool {
	give := func(machine bool, what string, base Disk, calls ...Call) bool {
		d := Disk{}
		for path, f := range base {
			d[path] = f
		}
		for _, c := range calls {
			d.apply(c)
		}
		return yield(Stop{point, machine, what, d})
	}
	if !give(false, "all that was written", kernel) {
		return false
	}
	for _, p := range into {
		if !give(false, fmt.Sprintf("and %d bytes of the next write", len(p.Data)), kernel, p) {
			return false
		}
	}
	if !give(true, "what was flushed", flushed) {
		return false
	}
	for i, c := range loose {
		others := slices.Delete(slices.Clone(loose), i, i+1)
		if !give(true, "only the "+c.String(), flushed, c) || len(loose) > 1 && !give(true, "all but the "+c.String(), flushed, others...) {
			return false
		}
	}
	for _, p := range into {
		if !give(true, fmt.Sprintf("what was flushed, and %d bytes of the next write", len(p.Data)), flushed, p) {
			return false
		}
	}
	return true
}
