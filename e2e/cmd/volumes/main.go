// Command volumes makes the volumes of the machine that it runs on: see package volume.
//
//	volumes -node x0tta6bl4-e2e-worker -dir /var/local/x0tta6bl4
//
// It runs in a pod until it is told to stop. Exit codes: 0 stopped, 1 failed, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/x0tta6bl4/mesh/e2e/ground/volume"
)

func main() {
	runtime.GOMAXPROCS(1) // it waits, and does a little now and then
	ctrllog.SetLogger(klog.Background())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	fs := flag.NewFlagSet("volumes", flag.ContinueOnError)
	fs.SetOutput(stderr)
	node := fs.String("node", "", "`name` of this machine, as Kubernetes knows it")
	dir := fs.String("dir", "", "`directory` of the volumes, with the same absolute path here and on the machine")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *node == "" || *dir == "" || fs.NArg() > 0 {
		fmt.Fprintln(stderr, "volumes: give -node and -dir, and nothing else")
		return 2
	}
	config, err := rest.InClusterConfig()
	if err == nil {
		err = volume.Run(ctx, config, *node, *dir)
	}
	if err != nil {
		fmt.Fprintln(stderr, "volumes:", err)
		return 1
	}
	return 0
}
