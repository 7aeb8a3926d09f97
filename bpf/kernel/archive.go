package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// entry is a file of the initramfs.
type entry struct {
	name, source string
	mode         uint32
}

// writeArchive writes files, each once, and the directories that they need as an archive in
// the "newc" format of cpio (Linux, Documentation/driver-api/early-userspace/
// buffer-format.rst), and a console device for process 1 to speak to.
func writeArchive(name string, files []entry) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	a := &archive{out: bufio.NewWriter(out), made: map[string]bool{".": true}}
	if err := a.directory("dev"); err != nil {
		return err
	}
	if err := a.header("dev/console", 0o020600, 0, 5, 1); err != nil {
		return err
	}
	for _, f := range files {
		if err := a.file(f); err != nil {
			return err
		}
	}
	if err := a.header("TRAILER!!!", 0, 0, 0, 0); err != nil {
		return err
	}
	return a.out.Flush()
}

type archive struct {
	out   *bufio.Writer
	inode int
	made  map[string]bool // directories, and files
}

func (a *archive) directory(name string) error {
	if a.made[name] {
		return nil
	}
	if err := a.directory(path.Dir(name)); err != nil {
		return err
	}
	a.made[name] = true
	return a.header(name, 0o040755, 0, 0, 0)
}

func (a *archive) file(f entry) error {
	if a.made[f.name] { // a library of several programs
		return nil
	}
	a.made[f.name] = true
	if err := a.directory(path.Dir(f.name)); err != nil {
		return err
	}
	in, err := os.Open(f.source)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := a.header(f.name, 0o100000|f.mode, info.Size(), 0, 0); err != nil {
		return err
	}
	n, err := io.Copy(a.out, in)
	if err != nil {
		return err
	}
	return a.pad(n)
}

// header writes a header; major and minor are of a device.
func (a *archive) header(name string, mode uint32, size, major, minor int64) error {
	a.inode++
	n, err := fmt.Fprintf(a.out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0, name)
	if err != nil {
		return err
	}
	return a.pad(int64(n))
}

// pad fills up to a multiple of four bytes after n.
func (a *archive) pad(n int64) error {
	_, err := a.out.Write(make([]byte, -n&3))
	return err
}
