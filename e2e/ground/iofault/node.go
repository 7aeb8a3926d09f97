package iofault

import (
	"context"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file or directory of the volume. It asks the layer before each operation and
// leaves the operation to go-fuse's loopback.
type node struct {
	*fs.LoopbackNode
	layer *layer
}

// WrapChild makes the nodes below n like n.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: ops.(*fs.LoopbackNode), layer: n.layer}
}

// within is the path inside the volume of n, or of an entry of n.
func (n *node) within(name ...string) string {
	return path.Join(append([]string{n.Path(n.Root())}, name...)...)
}

// path is the absolute path that the patterns of rules mean.
func (n *node) path(name ...string) string {
	return path.Join(n.layer.volume, n.within(name...))
}

// before is asked before an operation on n, or on an entry of n.
func (n *node) before(ctx context.Context, m Method, name ...string) syscall.Errno {
	if n.layer.lost.Load() {
		return syscall.EIO
	}
	rs := n.layer.rules.Load()
	if len(rs.list) == 0 {
		return 0
	}
	thread := 0
	if caller, ok := fuse.FromContext(ctx); ok {
		thread = int(caller.Pid)
	}
	return rs.before(m, n.path(name...), thread)
}

// attributed notes what out is to say of n or an entry of n.
func (n *node) attributed(m Method, out *fuse.Attr, name ...string) {
	rs := n.layer.rules.Load()
	if len(rs.list) == 0 {
		return
	}
	if attrs := rs.override(m, n.path(name...)); len(attrs) > 0 {
		n.layer.overrides.Store(out, attrs)
	}
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.before(ctx, Lookup, name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Lookup(ctx, name, out)
	n.attributed(Lookup, &out.Attr, name)
	return child, errno
}

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := n.before(ctx, GetAttr); errno != 0 {
		return errno
	}
	errno := n.LoopbackNode.Getattr(ctx, f, out)
	n.attributed(GetAttr, &out.Attr)
	return errno
}

// Statx makes the kernel ask Getattr instead.
func (n *node) Statx(context.Context, fs.FileHandle, uint32, uint32, *fuse.StatxOut) syscall.Errno {
	return syscall.ENOSYS
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.before(ctx, SetAttr); errno != 0 {
		return errno
	}
	errno := n.setattr(f, in, func() syscall.Errno { return n.LoopbackNode.Setattr(ctx, f, in, out) })
	n.attributed(SetAttr, &out.Attr)
	return errno
}

// setattr runs set, known to the power if it changes the size.
func (n *node) setattr(f fs.FileHandle, in *fuse.SetAttrIn, set func() syscall.Errno) syscall.Errno {
	size, resized := in.GetSize()
	p := n.layer.power
	if p == nil || !resized {
		return set()
	}
	if f, open := f.(*file); open {
		return p.change(f.fd, int64(size), 0, set)
	}
	return p.resizePath(n.within(), int64(size), set)
}

func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	if errno := n.before(ctx, ReadLink); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Readlink(ctx)
}

func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.before(ctx, Mknod, name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Mknod(ctx, name, mode, dev, out)
	n.attributed(Mknod, &out.Attr, name)
	return child, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.before(ctx, Mkdir, name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	n.attributed(Mkdir, &out.Attr, name)
	return child, errno
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.before(ctx, Unlink, name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.before(ctx, Rmdir, name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.before(ctx, Symlink, name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Symlink(ctx, target, name, out)
	n.attributed(Symlink, &out.Attr, name)
	return child, errno
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.before(ctx, Rename, name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, newName, flags)
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.before(ctx, Link, name); errno != 0 {
		return nil, errno
	}
	child, errno := n.LoopbackNode.Link(ctx, target, name, out)
	n.attributed(Link, &out.Attr, name)
	return child, errno
}

func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	if errno := n.before(ctx, StatFS); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Statfs(ctx, out)
}

func (n *node) Setxattr(ctx context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	if errno := n.before(ctx, SetXAttr); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Setxattr(ctx, attr, data, flags)
}

func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	if errno := n.before(ctx, GetXAttr); errno != 0 {
		return 0, errno
	}
	return n.LoopbackNode.Getxattr(ctx, attr, dest)
}

func (n *node) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	if errno := n.before(ctx, ListXAttr); errno != 0 {
		return 0, errno
	}
	return n.LoopbackNode.Listxattr(ctx, dest)
}

func (n *node) Removexattr(ctx context.Context, attr string) syscall.Errno {
	if errno := n.before(ctx, RemoveXAttr); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Removexattr(ctx, attr)
}

// foreign are the flags of open(2) that stay with the kernel or its caller: the kernel
// appends itself, and the layer's buffers are not aligned as O_DIRECT wants them.
const foreign = unix.O_APPEND | unix.O_DIRECT | unix.O_NONBLOCK

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.before(ctx, Open); errno != 0 {
		return nil, 0, errno
	}
	truncate := n.layer.power != nil && flags&unix.O_TRUNC != 0
	if truncate {
		flags &^= unix.O_TRUNC
	}
	h, _, errno := n.LoopbackNode.Open(ctx, flags&^foreign)
	if errno != 0 {
		return nil, 0, errno
	}
	f := n.file(h, flags)
	if truncate {
		errno = n.layer.power.change(f.fd, 0, 0, func() syscall.Errno { return fs.ToErrno(unix.Ftruncate(f.fd, 0)) })
	}
	return f, f.cache(), errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.before(ctx, Create, name); errno != 0 {
		return nil, nil, 0, errno
	}
	child, h, _, errno := n.LoopbackNode.Create(ctx, name, flags&^foreign, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	n.attributed(Create, &out.Attr, name)
	f := child.Operations().(*node).file(h, flags)
	return child, f, f.cache(), 0
}

func (n *node) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.before(ctx, Create); errno != 0 {
		return nil, nil, 0, errno
	}
	child, h, _, errno := n.LoopbackNode.Tmpfile(ctx, flags&^foreign, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	f := child.Operations().(*node).file(h, flags)
	return child, f, f.cache(), 0
}

// CopyFileRange makes the kernel copy with reads and writes, which rules know.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.before(ctx, OpenDir); errno != 0 {
		return nil, 0, errno
	}
	h, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &directory{stream: h.(stream), node: n}, fuseFlags, 0
}
