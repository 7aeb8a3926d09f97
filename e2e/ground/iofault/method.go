package iofault

// Method is an operation of a file system, by the name that Chaos Mesh gives to it.
type Method string

// The methods on which an action can act.
const (
	Lookup      Method = "lookup"
	GetAttr     Method = "getattr"
	SetAttr     Method = "setattr"
	ReadLink    Method = "readlink"
	Mknod       Method = "mknod"
	Mkdir       Method = "mkdir"
	Unlink      Method = "unlink"
	Rmdir       Method = "rmdir"
	Symlink     Method = "symlink"
	Rename      Method = "rename"
	Link        Method = "link"
	Open        Method = "open"
	Read        Method = "read"
	Write       Method = "write"
	Flush       Method = "flush"
	Release     Method = "release"
	Fsync       Method = "fsync"
	OpenDir     Method = "opendir"
	ReadDir     Method = "readdir"
	ReleaseDir  Method = "releasedir"
	FsyncDir    Method = "fsyncdir"
	StatFS      Method = "statfs"
	SetXAttr    Method = "setxattr"
	GetXAttr    Method = "getxattr"
	ListXAttr   Method = "listxattr"
	RemoveXAttr Method = "removexattr"
	Create      Method = "create"
)

var methods = []Method{
	Lookup, GetAttr, SetAttr, ReadLink, Mknod, Mkdir, Unlink, Rmdir, Symlink, Rename, Link, Open, Read, Write, Flush, Release, Fsync,
	OpenDir, ReadDir, ReleaseDir, FsyncDir, StatFS, SetXAttr, GetXAttr, ListXAttr, RemoveXAttr, Create,
}

// unasked are Chaos Mesh's methods for which nobody comes: forget has no answer, bmap is for
// block devices, and the kernel checks permissions and keeps locks itself here. Permissions
// since that is what the bare file system does; locks since they then cost nothing to move.
var unasked = []Method{"forget", "access", "getlk", "setlk", "bmap"}
