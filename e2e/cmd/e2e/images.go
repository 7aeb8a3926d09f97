package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
	"github.com/x0tta6bl4/mesh/e2e/ground/host"
	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/ground/progress"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// cleanupTimeout bounds cleaning up, which has a context of its own.
const cleanupTimeout = 2 * time.Minute

// session is what every command that prepares something has open.
type session struct {
	project  string
	started  time.Time
	progress *progress.Reporter
	log      *os.File
}

func open() (*session, error) {
	project, err := projectRoot()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(project, "artifacts")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := openLog(dir)
	if err != nil {
		return nil, err
	}
	return &session{project: project, started: time.Now(), progress: progress.New(os.Stderr), log: log}, nil
}

// openLog begins the log of what is installed and built. That of a command before is kept beside it, unless it says
// nothing: many commands prepare nothing.
func openLog(dir string) (*os.File, error) {
	path := filepath.Join(dir, report.Prepared)
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		if err := os.Rename(path, filepath.Join(dir, report.PreparedBefore)); err != nil {
			return nil, err
		}
	}
	return os.Create(path)
}

func (s *session) close() error {
	s.progress.Close()
	return s.log.Close()
}

// projectRoot is the directory of this module's go.mod.
func projectRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if err != nil || root == "." || root == "/dev" {
		return "", errors.New("call this inside the project's directory")
	}
	return root, nil
}

func deps(ctx context.Context, _ []string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	return s.code(s.install(ctx, true))
}

// code is exitUsage for what a person has to change and exitFailed for other errors.
func (s *session) code(err error) (int, error) {
	switch {
	case err == nil:
		return 0, nil
	case errors.Is(err, host.ErrMissing), errors.Is(err, engine.ErrDenied), errors.Is(err, engine.ErrUnfit), errors.Is(err, engine.ErrBusy), errors.Is(err, image.ErrMissing), errors.Is(err, image.ErrVersion), errors.Is(err, image.ErrPlace), errors.Is(err, image.ErrRegistry):
		return exitUsage, err
	default:
		return exitFailed, fmt.Errorf("%w (everything that ran is in %s)", err, s.log.Name())
	}
}

// install brings in packages, with checks those of tests and linters too; an engine is only installed
// where none answers.
func (s *session) install(ctx context.Context, checks bool) error {
	_, err := engine.Find(ctx)
	if err != nil && !errors.Is(err, engine.ErrNone) {
		return err
	}
	step := s.progress.Step("requirements")
	return step.End("", host.Ensure(ctx, host.Purpose{Engine: err != nil, Checks: checks}, io.MultiWriter(s.log, step), step.Detail))
}

// withEngine calls f with an engine that answers and gives the engine up afterwards.
func (s *session) withEngine(ctx context.Context, f func(*engine.Engine) error) (err error) {
	step := s.progress.Step("Docker engine")
	e, err := engine.Ensure(ctx, s.project)
	if err != nil {
		return step.End("", err)
	}
	_ = step.End(e.Describe(), nil)
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if stop := e.Release(clean); stop != nil {
			err = errors.Join(err, fmt.Errorf("clean up: %w", stop))
		}
	}()
	return f(e)
}

// ensureImages makes the whole set and says which image came from where.
func (s *session) ensureImages(ctx context.Context, e *engine.Engine) (image.Set, error) {
	lock, err := engine.Acquire("images")
	if err != nil {
		return image.Set{}, err
	}
	defer lock.Release()
	store, err := image.Open(s.project, e, s.progress, s.log)
	if err != nil {
		return image.Set{}, err
	}
	set, err := store.Ensure(ctx)
	if err != nil {
		return set, err
	}
	for _, i := range set.Images {
		s.progress.Printf("  %-8s %s", i.Source, i.Name)
	}
	return set, nil
}

func images(ctx context.Context, _ []string) (int, error) {
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	return s.code(s.prepare(ctx, nil))
}

// suits says what keeps a run from this machine and no package mends, before anything is built for it.
func (s *session) suits(ctx context.Context) error {
	if err := host.CheckKernel(); err != nil {
		return err
	}
	if err := host.CheckMachine(); err != nil {
		return err
	}
	if err := s.disks(); err != nil {
		return err
	}
	if _, err := engine.Find(ctx); !errors.Is(err, engine.ErrNone) { // where there is none, one is started
		return err
	}
	return nil
}

// disks says which of those that a run fills are too full: that of the project, and that of the engine's state.
func (s *session) disks() error {
	return errors.Join(host.CheckDisk(s.project), host.CheckDisk(filepath.Dir(engine.StateDir)))
}

// prepare checks and installs what is needed, makes the images, and calls then with the engine still up.
func (s *session) prepare(ctx context.Context, then func(*engine.Engine, image.Set) error) error {
	if err := s.suits(ctx); err != nil {
		return err
	}
	if err := s.install(ctx, false); err != nil {
		return err
	}
	return s.withEngine(ctx, func(e *engine.Engine) error {
		set, err := s.ensureImages(ctx, e)
		if err != nil || then == nil {
			return err
		}
		return then(e, set)
	})
}
