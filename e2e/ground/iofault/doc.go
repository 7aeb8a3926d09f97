// Package iofault is a stand-in for toda, the program that injects the faults of Chaos Mesh's
// IOChaos, and can take the power away besides.
//
// The daemon starts `toda --path VOLUME` in a container's mount and process namespaces and
// speaks JSON-RPC, a line each, over its standard streams: `update` with a list of actions
// (Action), and `get_status`. The object, its conditions, its duration and its recovery stay Chaos
// Mesh's. The program is in the daemon's image, not in the container's: `nsexec -l` starts it outside and gives
// it the mount namespace, it opens /dev/fuse and executes itself inside. If the image has a released toda elsewhere
// in PATH that is executed instead; Server tells which one serves.
//
// # The layer
//
// A FUSE file system (layer, node, file; go-fuse) lies over the volume and passes every operation on to
// it, after the rules were asked. Attributes and names are not cached, so each call of
// theirs is asked for. Data goes through the kernel's page cache: mappings live on it, and
// write(2), which is passed on at once, stays coherent with them, as bbolt needs, which reads
// through a shared mapping what it writes with pwrite(2). Direct I/O would not give that. A read
// that is in the cache is not asked for; while a rule concerns a file's reads, what was read is
// therefore thrown out of the cache again, from mappings too: a page fault then
// asks, and an error is a SIGBUS, as of a broken disk. What is written through a mapping is asked for when
// the kernel writes it back. Bytes of a write that failed are thrown out too, right after the answer: for that
// moment a mapping shows them. Locks stay with the kernel, and permissions, so the methods getlk, setlk and
// access do not occur; an action that names nothing else is refused.
//
// # Moving
//
// Files that are open already would go past the layer. So every process of the mount
// namespace is stopped with ptrace(2), the layer is mounted, and each process is made to open
// and to map anew what it has, by name, with the same flags, position, sharing, locks and
// advice; then they go on (volume.exchange, tracee). It takes ptrace: only a process itself
// can change its descriptors and mappings; pidfd_getfd(2) copies to us only, and SIGSTOP would stop a process but
// not let it act. Nothing of the process's own memory is changed: it executes
// a syscall instruction of its vDSO, in a thread whose registers and signals are put back, so
// that an interrupted call is restarted. What has no name any more, a mapping with private changes or
// locked in memory, a directory that is being read, and a root directory on the volume cannot be moved: then nothing is,
// and the error says what. It is the same on the way back, except that all else is moved. Not known
// to anybody, and so not moved: descriptors under way in a socket or registered with io_uring. A UNIX socket's
// name on the volume finds its listener again after recovery only.
//
// # Ends
//
// The process that the daemon starts guards the one that serves (guardian, serve). It moves everything
// back when it is told to end, when its standard input or nsexec ends, or when the server dies; if it is killed
// itself the server does. If the server dies, calls under way fail with an error, and what was
// written through a mapping and not written back is lost. Only if both are killed at
// once a dead layer stays.
//
// # Power
//
// With --power the layer remembers of each page what is durable, and the method lose_power puts
// that back for a part of the pages (power), as a seed wills. From then on every call fails, until the
// container is started anew on what was durable.
//
// # Map
//
//	main, guard, serve, enter, served   the processes: who starts, guards and serves
//	action, method, rule                what is to be injected, and where
//	layer, node, file                   the file system
//	volume, exchange, move, holding, tracee
//	                                    processes' open files and mappings, onto the layer and back
//	power                               what a power loss takes
package iofault
