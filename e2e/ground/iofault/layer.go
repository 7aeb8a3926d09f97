package iofault

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// layer is the file system that lies over a volume. It passes every operation on to
// the volume, which is the working directory of its process.
type layer struct {
	volume    string // the absolute path at which it lies
	rules     atomic.Pointer[rules]
	overrides sync.Map    // of *fuse.Attr to []*Attr, between node and attributer
	power     *power      // nil unless it can lose power
	lost      atomic.Bool // the power: nothing answers any more
	root      *node
}

// requestBytes is the most that one READ or WRITE carries: the kernel's own limit.
const requestBytes = 1 << 20

// newLayer serves the working directory on an already mounted FUSE connection.
func newLayer(volume string, connection int, p *power) (*layer, *fuse.Server, error) {
	unix.Umask(0) // the kernel has applied the caller's
	loopback, err := fs.NewLoopbackRoot(".")
	if err != nil {
		return nil, nil, err
	}
	l := &layer{volume: volume, power: p}
	l.root = &node{LoopbackNode: loopback.(*fs.LoopbackNode), layer: l}
	l.root.RootData.RootNode = l.root
	if _, err := l.set(nil); err != nil {
		return nil, nil, err
	}
	// Attributes and names are not cached: no timeouts are given.
	options := &fs.Options{MountOptions: fuse.MountOptions{
		MaxWrite: requestBytes, ExplicitDataCacheControl: true, DisableReadDirPlus: true,
		MaxBackground: 64,
	}}
	raw := attributer{RawFileSystem: fs.NewNodeFS(l.root, options), layer: l}
	server, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", connection), &options.MountOptions)
	if err != nil {
		return nil, nil, fmt.Errorf("serve FUSE: %w", err)
	}
	return l, server, nil
}

// set makes actions what the layer does from now on. Whoever waits because of those
// before goes on.
func (l *layer) set(actions []Action) (*rules, error) {
	rs, err := newRules(actions)
	if err != nil {
		return nil, err
	}
	before := l.rules.Swap(rs)
	if before != nil {
		close(before.over)
	}
	// What the kernel has in its cache it would read without asking.
	var forget func(i *fs.Inode)
	forget = func(i *fs.Inode) {
		for _, child := range i.Children() {
			forget(child)
		}
		if n, ok := i.Operations().(*node); ok && !i.IsDir() && rs.observed(Read, n.path()) {
			_ = n.NotifyContent(0, 0) // fails if the kernel has nothing of it
		}
	}
	if before != nil {
		forget(l.root.EmbeddedInode())
	}
	return rs, nil
}

// forget makes the kernel ask for a range of a file again. It cannot do so before the
// request at hand is answered, since that has its pages locked.
func (l *layer) forget(n *node, off, size int64) {
	go func() { _ = n.NotifyContent(off, size) }() // fails if the kernel has nothing of it
}

// attributer sets what rules override in attributes: go-fuse's nodes set inode number
// and kind themselves, after ours have answered.
type attributer struct {
	fuse.RawFileSystem
	layer *layer
}

func (a attributer) set(out *fuse.Attr, status fuse.Status) fuse.Status {
	attrs, ok := a.layer.overrides.LoadAndDelete(out)
	if ok && status.Ok() {
		for _, attr := range attrs.([]*Attr) {
			attr.set(out)
		}
	}
	return status
}

func (a attributer) Lookup(c <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.Lookup(c, in, name, out))
}

func (a attributer) GetAttr(c <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.GetAttr(c, in, out))
}

func (a attributer) SetAttr(c <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.SetAttr(c, in, out))
}

func (a attributer) Mknod(c <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.Mknod(c, in, name, out))
}

func (a attributer) Mkdir(c <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.Mkdir(c, in, name, out))
}

func (a attributer) Symlink(c <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.Symlink(c, in, target, name, out))
}

func (a attributer) Link(c <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.Link(c, in, name, out))
}

func (a attributer) Create(c <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return a.set(&out.Attr, a.RawFileSystem.Create(c, in, name, out))
}
