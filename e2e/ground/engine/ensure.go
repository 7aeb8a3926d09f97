package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
)

const (
	// useLock is shared by everybody who uses our engine: who stops it has it alone.
	useLock = "engine"
	// startLock is held while our engine is started or stopped.
	startLock = "engine-start"
)

// Ensure returns an engine that answers, starting one of our own if none does. project is the
// root of this project's sources, from which the engine's commands are built. Call Release in the end.
func Ensure(ctx context.Context, project string) (_ *Engine, err error) {
	use, err := share(useLock)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = use.Release()
		}
	}()
	starting, err := wait(startLock)
	if err != nil {
		return nil, err
	}
	defer starting.Release()
	e, err := Find(ctx)
	if errors.Is(err, ErrNone) {
		e, err = startOwn(ctx, project)
	}
	if err != nil {
		return nil, err
	}
	e.use = use
	return e, nil
}

func startOwn(ctx context.Context, project string) (*Engine, error) {
	// What an engine that was killed left would be in the way of the next.
	if err := Stop(ctx); err != nil {
		return nil, fmt.Errorf("clean up after an earlier engine: %w", err)
	}
	e, err := Start(ctx, project)
	if err != nil {
		return nil, errors.Join(err, Stop(context.WithoutCancel(ctx)))
	}
	return e, nil
}

// Release gives the engine up, and stops it if it is our own, nobody else uses it and nothing runs in it.
func (e *Engine) Release(ctx context.Context) error {
	if e.use == nil {
		return nil
	}
	use := e.use
	e.use = nil
	defer use.Release()
	if !e.Own {
		return nil
	}
	starting, err := wait(startLock)
	if err != nil {
		return err
	}
	defer starting.Release()
	if !use.alone() {
		return nil
	}
	left, err := e.Output(ctx, "ps", "--quiet")
	if err == nil && left != "" {
		return nil // a cluster that was asked to stay
	}
	return Stop(ctx)
}

// Leave gives the engine up and lets it run, for whoever uses it next.
func (e *Engine) Leave() error {
	if e.use == nil {
		return nil
	}
	use := e.use
	e.use = nil
	return use.Release()
}

// Reset stops our own engine with everything that runs in it, puts back what it changed of the machine, also where it was
// killed, and leaves nothing of it but images. The error wraps ErrBusy where somebody uses it.
func Reset(ctx context.Context) error {
	use, err := share(useLock)
	if err != nil {
		return err
	}
	defer use.Release()
	starting, err := wait(startLock)
	if err != nil {
		return err
	}
	defer starting.Release()
	if !use.alone() {
		return fmt.Errorf("%w, with our Docker engine: wait for its end", ErrBusy)
	}
	if err := Stop(ctx); err != nil || os.Geteuid() != 0 {
		return err
	}
	return resetState(dataRoot())
}
