package iofault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/creachadair/jrpc2/handler"
	"golang.org/x/sys/unix"
)

const (
	// serverVariable makes this command the server of the layer.
	serverVariable = "X0TTA6BL4_IOFAULT_SERVER"
	// serverTimeout is how long the server may take to answer. The daemon waits for two
	// seconds in all.
	serverTimeout = time.Second
)

// guardian is the process that the daemon starts. It starts the server, moves the
// container's processes onto the layer, and back when it is told to end, when the daemon
// is gone, or when the server is. If the guardian is killed the server does the latter.
type guardian struct {
	volume volume
	log    *slog.Logger
	server *exec.Cmd
	ended  chan struct{} // closed when the server has ended
	rpc    *jrpc2.Client // of the server
}

func guard(ctx context.Context, o options, stdin io.Reader, stdout io.WriteCloser, log *slog.Logger) error {
	g, err := inject(ctx, o, log)
	if err != nil {
		log.Error("injection failed, everything is as it was", "error", err)
	} else {
		log.Info("the layer is in place", "path", g.volume.path)
	}
	failed := err
	// What failed before is the answer to everything, until the daemon has heard it.
	methods := handler.Map{
		"update": func(ctx context.Context, r *jrpc2.Request) (any, error) {
			var actions [][]Action
			if failed != nil {
				return nil, failed
			}
			if err := r.UnmarshalParams(&actions); err != nil {
				return nil, err
			}
			return g.ask(ctx, "update", actions)
		},
		"get_status": func(ctx context.Context, _ *jrpc2.Request) (any, error) {
			if failed != nil {
				return failed.Error(), nil
			}
			return g.ask(ctx, "get_status", []string{"ping"})
		},
		"lose_power": func(ctx context.Context, r *jrpc2.Request) (any, error) {
			var seed []uint64
			if failed != nil {
				return nil, failed
			}
			if err := r.UnmarshalParams(&seed); err != nil {
				return nil, err
			}
			return g.ask(ctx, "lose_power", seed)
		},
	}
	daemon := jrpc2.NewServer(methods, nil).Start(channel.Line(stdin, stdout))
	gone := make(chan struct{})
	go func() {
		_ = daemon.Wait() // whatever ended it, it ended
		close(gone)
	}()
	var died <-chan struct{}
	if g != nil {
		died = g.ended
	}
	select {
	case <-ctx.Done():
	case <-gone:
		log.Info("the daemon is gone")
	case <-died:
		err = errors.New("the server of the layer has died")
	}
	if g == nil {
		return err
	}
	return errors.Join(err, g.recover())
}

// inject lays the layer over the volume.
func inject(ctx context.Context, o options, log *slog.Logger) (g *guardian, err error) {
	v, dir, err := openVolume(o.path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	device, err := openDevice()
	if err != nil {
		return nil, err
	}
	defer device.Close()
	layer, err := prepareLayer(device)
	if err != nil {
		return nil, err
	}
	defer layer.Close()
	g = &guardian{volume: v, log: log, ended: make(chan struct{})}
	if err := g.start(o, device, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.stop())
			g = nil
		}
	}()
	if _, err := g.ask(ctx, "get_status", []string{"ping"}); err != nil {
		return g, fmt.Errorf("start the server: %w", err)
	}
	ours := []int{os.Getpid(), g.server.Process.Pid}
	return g, v.exchange(v.bare, ours, func() error { return v.cover(layer) }, v.uncover)
}

// start starts the server on an open /dev/fuse that is mounted.
func (g *guardian) start(o options, device, dir *os.File) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	near, far := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "guardian")
	defer far.Close()
	args := []string{"--path", g.volume.path, "--verbose", o.verbose.String()}
	if o.power {
		args = append(args, "--power")
	}
	g.server = exec.Command("/proc/self/exe", args...)
	g.server.Args[0] = "toda"
	g.server.Env = append(os.Environ(), fmt.Sprintf("%s=%d", serverVariable, g.volume.bare))
	g.server.Stderr = os.Stderr
	g.server.ExtraFiles = []*os.File{device, dir, far}
	g.server.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal to our group is not to it
	if err := g.server.Start(); err != nil {
		return errors.Join(err, near.Close())
	}
	g.rpc = jrpc2.NewClient(channel.Line(near, near), nil)
	go func() {
		_ = g.server.Wait() // it is ended by us, or its death is the news
		close(g.ended)
	}()
	return nil
}

// ask asks the server.
func (g *guardian) ask(ctx context.Context, method string, params any) (result any, err error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	return result, g.rpc.CallResult(ctx, method, params, &result)
}

// recover takes the layer away.
func (g *guardian) recover() error {
	// No rule holds up what follows. If the server is dead nothing does.
	_, err := g.ask(context.Background(), "update", [][]Action{{}})
	if err != nil {
		g.log.Warn("the server does not answer", "error", err)
	}
	err = g.volume.recover([]int{os.Getpid(), g.server.Process.Pid})
	return errors.Join(err, g.stop())
}

// stop ends the server. It has nothing to finish: nobody is left whom it serves.
func (g *guardian) stop() error {
	err := g.server.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-g.ended
	return errors.Join(err, g.rpc.Close())
}

const recoverTries = 5

// recover moves the container's processes from the layer back onto the bare volume. It tries
// again what fails for the moment, and takes the layer away in any case.
func (v volume) recover(ours []int) error {
	for try := 1; ; try++ {
		layer, err := v.layerOf()
		if err != nil || layer == 0 {
			return err
		}
		err = v.exchange(layer, ours, v.uncover, nil)
		left, e := v.layerOf()
		if e != nil || left == 0 {
			return errors.Join(err, e)
		}
		if try == recoverTries {
			return errors.Join(err, v.uncover())
		}
	}
}
