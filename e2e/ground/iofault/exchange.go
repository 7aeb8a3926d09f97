package iofault

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"
)

const (
	// freezeTimeout is how long processes may take to stop. One that waits in vfork(2)
	// does not stop before its child has executed, which is stopped too: then all are
	// let go and stopped anew.
	freezeTimeout = 200 * time.Millisecond
	freezeTries   = 4
	// callTimeout is how long a process may take for all the calls that it makes for us.
	callTimeout = 10 * time.Second
)

// exchange stops every process of this mount namespace but ours, lets swap change what
// is mounted at the volume, moves what they have open from the mount that was there to the
// one that is now, and lets them go on. To them no time passes. With an undo it is all or
// nothing: if something cannot be moved, or fails to, everything is as it was. Without one it
// moves what it can, and the error tells of the rest.
func (v volume) exchange(from uint64, ours []int, swap, undo func() error) (err error) {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // a tracee knows one thread; it ends with the goroutine
		done <- v.exchangeHere(from, ours, swap, undo)
	}()
	return <-done
}

func (v volume) exchangeHere(from uint64, ours []int, swap, undo func() error) (err error) {
	frozen, err := freeze(ours)
	defer func() {
		for _, t := range frozen {
			err = errors.Join(err, t.release())
		}
	}()
	if err != nil {
		return err
	}
	before, unmovable := v.survey(frozen, from)
	if unmovable != nil && undo != nil {
		return unmovable
	}
	if err := swap(); err != nil {
		return err
	}
	failed := v.move(frozen, before)
	if failed == nil || undo == nil {
		return errors.Join(unmovable, failed)
	}
	to, err := mountOfPath(v.path)
	if err != nil {
		return errors.Join(failed, err)
	}
	after, err := v.survey(frozen, to)
	if err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed, undo(), v.move(frozen, after))
}

// freeze stops every process of this mount namespace but ours. It returns those that it
// has stopped even if it fails.
func freeze(ours []int) (frozen []*tracee, err error) {
	for try := 1; ; try++ {
		if frozen, err = freezeOnce(frozen, ours, time.Now().Add(freezeTimeout)); !errors.Is(err, errStuck) || try == freezeTries {
			return frozen, err
		}
		for _, t := range frozen {
			if e := t.release(); e != nil {
				return frozen, errors.Join(err, e)
			}
		}
		time.Sleep(freezeTimeout / 10)
	}
}

// freezeOnce tries it once. What an earlier try has attached to and could not let go, as it
// had not stopped, is in frozen.
func freezeOnce(frozen []*tracee, ours []int, deadline time.Time) ([]*tracee, error) {
	space, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return frozen, err
	}
	// One that is not stopped yet may start others.
	for fresh := true; fresh; {
		fresh = false
		pids, err := neighbours(space, ours)
		if err != nil {
			return frozen, err
		}
		for _, pid := range pids {
			i := slices.IndexFunc(frozen, func(t *tracee) bool { return t.pid == pid })
			if i < 0 {
				i, frozen = len(frozen), append(frozen, &tracee{pid: pid})
			}
			t := frozen[i]
			more, err := t.seize()
			if errors.Is(err, errGone) || err == nil && len(t.threads) == 0 {
				frozen = slices.Delete(frozen, i, i+1)
				continue
			}
			if err != nil {
				return frozen, err
			}
			fresh = fresh || more
		}
	}
	live := frozen[:0:0]
	for i, t := range frozen {
		err := t.stopped(deadline)
		if errors.Is(err, errGone) {
			continue
		}
		live = append(live, t)
		if err != nil {
			return append(live, frozen[i+1:]...), err
		}
	}
	return live, nil
}

// neighbours are the processes in a mount namespace that are not ours.
func neighbours(space string, ours []int) (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || slices.Contains(ours, pid) {
			continue
		}
		// The link of one that has ended cannot be read.
		if of, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); err == nil && of == space {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (v volume) survey(frozen []*tracee, mount uint64) (all []holdings, err error) {
	var errs []error
	for _, t := range frozen {
		h, err := survey(t.pid, mount, v.path)
		if err != nil && dead(t.pid, t.pid) {
			continue // it was killed
		}
		all, errs = append(all, h), append(errs, err)
	}
	return all, errors.Join(errs...)
}
