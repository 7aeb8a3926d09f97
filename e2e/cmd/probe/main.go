// Command probe watches a pod's network from inside its network namespace and
// outside its mesh node: see package echo.
//
//	probe -pod mesh-node-a-0 -peers mesh-node-a-1=10.244.1.7,mesh-node-b-0=10.244.2.4
//
// It prints JSON lines until it is told to stop. Exit codes: 0 stopped, 1
// failed, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

func main() {
	runtime.GOMAXPROCS(1) // it does a little many times a second: another processor would only be woken in vain
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	go func() {
		<-told
		time.AfterFunc(outlive, stop)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// outlive is how much longer the prober stays when its pod is told to end. The pod
// is there until its processes are killed, after two seconds at least, and the
// prober is to tell when that is.
const outlive = 3 * time.Second

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("probe", flag.ContinueOnError)
	fs.SetOutput(stderr)
	pod := fs.String("pod", "", "name of this pod")
	port := fs.Uint("port", echo.Port, "UDP `port` of all probers")
	list := fs.String("peers", "", "pods to probe, as `name=ip,…`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	peers, err := parsePeers(*list, uint16(*port))
	if err == nil && (*port == 0 || *port > math.MaxUint16) {
		err = fmt.Errorf("-port: %d is no port", *port)
	}
	if err == nil && *pod == "" {
		err = errors.New("-pod is missing: give the name of this pod")
	}
	if err != nil {
		fmt.Fprintln(stderr, "probe:", err)
		return 2
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(*port)})
	if err != nil {
		fmt.Fprintf(stderr, "probe: cannot listen on UDP port %d: %v\n", *port, err)
		return 1
	}
	p := &echo.Prober{Pod: *pod, Peers: peers, Out: stdout}
	if err := p.Run(ctx, conn); err != nil {
		fmt.Fprintln(stderr, "probe:", err)
		return 1
	}
	return 0
}

func parsePeers(list string, port uint16) ([]echo.Peer, error) {
	var peers []echo.Peer
	for item := range strings.SplitSeq(list, ",") {
		name, ip, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("-peers: %q is not of the form name=ip", item)
		}
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, fmt.Errorf("-peers: %s: %q is not an IP address", name, ip)
		}
		peers = append(peers, echo.Peer{Name: name, Addr: netip.AddrPortFrom(addr, port)})
	}
	return peers, nil
}
