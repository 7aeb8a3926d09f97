// Package enclosure keeps a Docker engine from touching the machine that it runs on.
//
// The engine gets process, mount and network namespaces of its own (pid_namespaces(7),
// mount_namespaces(7), network_namespaces(7)). Its bridges, firewall rules and network sysctls
// are those of its own network; of the machine's files it can change only those below
// two directories, everything else is read-only or a layer that is dropped. Its first process is
// Init: when that one ends, however it ends, the kernel ends every process in there and
// takes the mounts and the network with them, so that nothing has to be found and undone.
//
// Two ways lead out: the engine's socket, which is a file, and the ports that containers publish,
// which Proxy, dockerd's userland proxy, opens on the machine.
package enclosure

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The descriptors that Init inherits.
const (
	// goFD is a pipe: a byte means that whoever started Init has written down its process id,
	// an end without one that it died before.
	goFD = 3
	// networkFD is the machine's network namespace.
	networkFD = 4
)

// Command returns the command that runs args in an enclosure. Its files are binary, the
// enclosure command, and the directories run and state, which alone may be written. Nothing happens after
// Start until release is called, once the process id is on record: with true it goes on, with false it ends, as
// it does when this process dies before. Root is needed.
func Command(binary, run, state string, args ...string) (cmd *exec.Cmd, release func(on bool) error, err error) {
	network, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		_ = network.Close()
		return nil, nil, err
	}
	cmd = exec.Command(binary, append([]string{"init", run, state}, args...)...)
	cmd.ExtraFiles = []*os.File{r, network}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // it outlives the process that starts it
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
	}
	return cmd, func(on bool) (err error) {
		if on {
			_, err = w.Write([]byte{1})
		}
		return errors.Join(err, w.Close(), r.Close(), network.Close())
	}, nil
}

// Init is the first process of an enclosure. It shuts the machine out, runs args, and reaps
// what is orphaned; it returns the exit code of args.
func Init(run, state string, args []string) (int, error) {
	if os.Getpid() != 1 {
		return 0, errors.New("init: this is no process namespace of its own")
	}
	unix.CloseOnExec(goFD)
	unix.CloseOnExec(networkFD)
	if n, err := os.NewFile(goFD, "go").Read(make([]byte, 1)); n != 1 {
		return 0, fmt.Errorf("init: whoever started this is gone: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	if err := view(run, state); err != nil {
		return 0, err
	}
	if err := loopback(); err != nil {
		return 0, err
	}
	command, err := exec.LookPath(args[0])
	if err != nil {
		return 0, err
	}
	// No kernel module is loaded by what runs in here: br_netfilter, which dockerd asks for, would put
	// the frames of the machine's own bridges through the machine's firewall. What the kernel itself
	// looks for when it is used (overlay, bridge, xt_*) comes as ever. The thread is
	// locked because bounds are a thread's and a child has those of the thread that forks it.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_MODULE, 0, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return 0, fmt.Errorf("drop CAP_SYS_MODULE: %w", err)
	}
	child, err := syscall.ForkExec(command, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", command, err)
	}
	go func() {
		for range signals {
			_ = unix.Kill(child, unix.SIGTERM)
		}
	}()
	return reap(child)
}

// reap waits for every child, the orphans that init inherits too, until the one has ended.
func reap(child int) (int, error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == child && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == child:
			return status.ExitStatus(), nil
		}
	}
}

func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	return nil
}

// hostNetwork is where the machine's network namespace is found inside: bound below the run
// directory's mount of the enclosure's own.
func hostNetwork(private string) string { return filepath.Join(private, "network") }

// copyBoth copies in both directions until both ends have had enough.
func copyBoth(a, b interface {
	io.ReadWriter
	CloseWrite() error
}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(a, b)
		_ = a.CloseWrite()
	}()
	_, _ = io.Copy(b, a)
	_ = b.CloseWrite()
	<-done
}
