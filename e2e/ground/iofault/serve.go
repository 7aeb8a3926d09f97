package iofault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"github.com/creachadair/jrpc2"
	"github.com/creachadair/jrpc2/channel"
	"github.com/creachadair/jrpc2/handler"
	"golang.org/x/sys/unix"
)

// The descriptors that the guardian gives to the server.
const (
	serverDevice = 3 + iota
	serverVolume
	serverControl
)

// serve is the server: it serves the layer until the guardian kills it, or is gone.
func serve(ctx context.Context, o options, log *slog.Logger) error {
	bare, err := strconv.ParseUint(os.Getenv(serverVariable), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", serverVariable, err)
	}
	if err := unix.Fchdir(serverVolume); err != nil {
		return fmt.Errorf("enter the bare volume: %w", err)
	}
	unix.CloseOnExec(serverDevice)
	control := os.NewFile(serverControl, "guardian")
	var p *power
	if o.power {
		p = newPower()
	}
	l, fuse, err := newLayer(o.path, serverDevice, p)
	if err != nil {
		return err
	}
	go fuse.Serve()
	guardian := jrpc2.NewServer(l.methods(), nil).Start(channel.Line(control, control))
	gone := make(chan error, 1)
	go func() { gone <- guardian.Wait() }()
	select {
	case err = <-gone:
	case <-ctx.Done(): // of a signal to us alone: the guardian sees our end
		err = context.Cause(ctx)
	}
	log.Warn("the guardian is gone", "error", err)
	if _, err := l.set(nil); err != nil {
		return err
	}
	return volume{path: o.path, bare: bare}.recover([]int{os.Getpid()})
}

// methods are what the guardian asks of the server.
func (l *layer) methods() handler.Map {
	return handler.Map{
		"update": handler.New(func(_ context.Context, actions [][]Action) (string, error) {
			if len(actions) != 1 {
				return "", errors.New("update takes one list of actions")
			}
			_, err := l.set(actions[0])
			return "ok", err
		}),
		"get_status": handler.New(func(context.Context, []string) (string, error) { return "ok", nil }),
		"lose_power": handler.New(func(_ context.Context, seed []uint64) (Loss, error) {
			if l.power == nil {
				return Loss{}, errors.New("lose_power needs toda to be started with --power")
			}
			if len(seed) != 1 {
				return Loss{}, errors.New("lose_power takes one seed")
			}
			if l.lost.Swap(true) {
				return Loss{}, errors.New("the power is lost already")
			}
			return l.power.lose(seed[0])
		}),
	}
}
