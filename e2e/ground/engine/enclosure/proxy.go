package enclosure

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// readyFD is the pipe on which dockerd waits for a proxy: "0\n" is success, "1\n" and a text failure
// (moby's libnetwork/portmapper).
const readyFD = 3

const dialTimeout = 10 * time.Second // to a container on a bridge of this machine

// Proxy is dockerd's userland proxy of one published port: it listens on the machine and
// connects to the container in the enclosure. It returns when it cannot listen, and otherwise never.
func Proxy(args []string) error {
	ready := os.NewFile(readyFD, "ready")
	serve, err := listen(args)
	if err != nil {
		_, _ = fmt.Fprintf(ready, "1\n%v", err)
		return errors.Join(err, ready.Close())
	}
	if _, err := io.WriteString(ready, "0\n"); err != nil {
		return err
	}
	if err := ready.Close(); err != nil {
		return err
	}
	return serve()
}

func listen(args []string) (serve func() error, err error) {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	proto := flags.String("proto", "tcp", "")
	hostIP, containerIP := flags.String("host-ip", "", ""), flags.String("container-ip", "", "")
	hostPort, containerPort := flags.Int("host-port", 0, ""), flags.Int("container-port", 0, "")
	_ = flags.Bool("use-listen-fd", false, "") // dockerd's own socket, in the enclosure's network: of no use here
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *proto != "tcp" {
		return nil, fmt.Errorf("publish a port: %s is not carried out of the enclosure, only tcp", *proto)
	}
	listener, err := listenOutside(net.JoinHostPort(*hostIP, strconv.Itoa(*hostPort)))
	if err != nil {
		return nil, err
	}
	to := net.JoinHostPort(*containerIP, strconv.Itoa(*containerPort))
	return func() error {
		for {
			from, err := listener.Accept()
			if err != nil {
				return err
			}
			go carry(from.(*net.TCPConn), to)
		}
	}, nil
}

// listenOutside listens in the machine's network. A socket stays in the network that its thread was in
// when it was made; the thread comes back, since those of the connections inside may run on it.
func listenOutside(address string) (net.Listener, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	inside, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(inside)
	outside, err := unix.Open(hostNetwork(os.Getenv(privateVariable)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the machine's network: %w", err)
	}
	defer unix.Close(outside)
	if err := unix.Setns(outside, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the machine's network: %w", err)
	}
	listener, err := net.Listen("tcp", address)
	if back := unix.Setns(inside, unix.CLONE_NEWNET); back != nil {
		return nil, fmt.Errorf("come back from the machine's network: %w", back)
	}
	return listener, err
}

func carry(from *net.TCPConn, address string) {
	defer from.Close()
	to, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return // the client sees the connection end, as with a port that nobody listens on any more
	}
	defer to.Close()
	copyBoth(from, to.(*net.TCPConn))
}
