package iofault

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// until runs each of work again and again, in a goroutine of its own, until the test says a line.
// It then says the error, or "ok" and how often each ran.
func until(in *bufio.Reader, work ...func(turn uint64) error) error {
	var stop atomic.Bool
	var running sync.WaitGroup
	turns, errs := make([]uint64, len(work)), make([]error, len(work))
	for i, do := range work {
		running.Go(func() {
			for ; !stop.Load() && errs[i] == nil; turns[i]++ {
				errs[i] = do(turns[i])
			}
		})
	}
	fmt.Println("ready")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "stop\n" {
			break
		}
		fmt.Println("here") // a sign of life
	}
	stop.Store(true)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		fmt.Println(err)
	} else {
		fmt.Println("ok", turns)
	}
	_, err := in.ReadString('\n') // what is open stays so until then
	return err
}

// vforker has a file open, and a thread that waits in vfork(2) most of the time: it does
// not stop before its child has ended, which may not stop either until then.
func vforker(volume string, in *bufio.Reader) error {
	f, err := os.Create(filepath.Join(volume, "file"))
	if err != nil {
		return err
	}
	defer f.Close()
	return until(in, func(uint64) error { return vfork(2 * freezeTimeout) })
}

// vfork waits for a child that sleeps.
//
//go:norace
//go:nosplit
func vfork(sleeps time.Duration) error {
	ts := unix.NsecToTimespec(int64(sleeps))
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 { // with one thread and a copy of all else: nothing but plain system calls
		unix.RawSyscallNoError(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		for {
			unix.RawSyscallNoError(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

// writer appends numbers to a file through two descriptors that share a position, and to
// another that was opened to append; it holds a lock, and has its working directory on the volume.
func writer(volume string, in *bufio.Reader) error {
	a, err := unix.Open(filepath.Join(volume, "numbers"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	b, err := unix.Dup(a)
	if err != nil {
		return err
	}
	end, err := unix.Open(filepath.Join(volume, "appended"), unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Flock(a, unix.LOCK_EX), os.Mkdir(filepath.Join(volume, "work"), 0o700), unix.Chdir(filepath.Join(volume, "work"))); err != nil {
		return err
	}
	record := &unix.Flock_t{Type: unix.F_WRLCK, Start: 100, Len: 50}
	if err := unix.FcntlFlock(uintptr(end), unix.F_SETLK, record); err != nil {
		return err
	}
	return until(in, func(turn uint64) error {
		fd := []int{a, b}[turn%2]
		n, err := unix.Write(fd, binary.BigEndian.AppendUint64(nil, turn))
		if err == nil && n != 8 {
			err = errors.New("a short write")
		}
		return err
	}, func(turn uint64) error {
		_, err := unix.Write(end, binary.BigEndian.AppendUint64(nil, turn))
		return err
	}, func(uint64) error {
		return os.WriteFile("here", []byte("relative"), 0o600)
	})
}

// retrier writes numbers where they belong, again and again if that fails.
func retrier(volume string, in *bufio.Reader) error {
	fd, err := unix.Open(filepath.Join(volume, "numbers"), unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return err
	}
	return until(in, func(turn uint64) error {
		for deadline := time.Now().Add(20 * time.Second); ; {
			n, err := unix.Pwrite(fd, binary.BigEndian.AppendUint64(nil, turn), int64(8*turn))
			if err == nil && n == 8 {
				return nil
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("number %d: %d, %w", turn, n, err)
			}
		}
	})
}

// holder holds what cannot be moved, as HOLD says.
func holder(volume string, in *bufio.Reader) error {
	name := filepath.Join(volume, "held")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, 8192); err != nil {
		return err
	}
	switch os.Getenv("HOLD") {
	case "a deleted file":
		err = unix.Unlink(name)
	case "a changed private mapping":
		var m []byte
		if m, err = unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE); err == nil {
			m[4096] = 1
		}
	case "a locked mapping":
		var m []byte
		if m, err = unix.Mmap(fd, 0, 8192, unix.PROT_READ, unix.MAP_SHARED); err == nil {
			err = unix.Mlock(m)
		}
	case "a mapping of a deleted file":
		if _, err = unix.Mmap(fd, 0, 8192, unix.PROT_READ, unix.MAP_SHARED); err == nil {
			err = errors.Join(unix.Unlink(name), unix.Close(fd))
		}
	case "a half-read directory":
		for i := range 2000 {
			if err := os.WriteFile(filepath.Join(volume, fmt.Sprint(i)), nil, 0o600); err != nil {
				return err
			}
		}
		if fd, err = unix.Open(volume, unix.O_RDONLY|unix.O_DIRECTORY, 0); err == nil {
			_, err = unix.ReadDirent(fd, make([]byte, 4096))
		}
	case "a lease":
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
	case "a pipe":
		if err = unix.Mkfifo(name+".fifo", 0o600); err == nil {
			_, err = unix.Open(name+".fifo", unix.O_RDWR, 0)
		}
	case "its root":
		if err = os.MkdirAll(filepath.Join(volume, "jail"), 0o700); err == nil {
			err = unix.Chroot(filepath.Join(volume, "jail"))
		}
	}
	if err != nil {
		return err
	}
	return until(in)
}

// mapper counts in a file that is mapped for writing and reads another, that it writes with
// pwrite(2), through a mapping for reading, as bbolt does.
func mapper(volume string, in *bufio.Reader) error {
	const size = 1 << 20
	open := func(name string) (int, error) {
		fd, err := unix.Open(filepath.Join(volume, name), unix.O_RDWR|unix.O_CREAT, 0o600)
		return fd, errors.Join(err, unix.Ftruncate(fd, size))
	}
	counters, err := open("counters")
	if err != nil {
		return err
	}
	counts, err := unix.Mmap(counters, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if err := unix.Close(counters); err != nil { // the mapping stays
		return err
	}
	pages, err := open("pages")
	if err != nil {
		return err
	}
	view, err := unix.Mmap(pages, 0, 2*size, unix.PROT_READ, unix.MAP_SHARED) // longer than the file
	if err != nil {
		return err
	}
	if err := unix.Madvise(view, unix.MADV_RANDOM); err != nil {
		return err
	}
	return until(in, func(turn uint64) error {
		at := (turn * 4096) % size
		binary.BigEndian.PutUint64(counts[at:], turn)
		return nil
	}, func(turn uint64) error {
		at := (turn * 4096) % size
		if _, err := unix.Pwrite(pages, binary.BigEndian.AppendUint64(nil, turn), int64(at)); err != nil {
			return err
		}
		if got := binary.BigEndian.Uint64(view[at:]); got != turn {
			return fmt.Errorf("%d was written, the mapping has %d", turn, got)
		}
		return nil
	})
}

// keeper puts records into a bbolt database, and reads them.
func keeper(volume string, in *bufio.Reader) error {
	db, err := bbolt.Open(filepath.Join(volume, "bolt.db"), 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		return err
	}
	var kept atomic.Uint64 // records that are acknowledged
	return until(in, func(turn uint64) error {
		err := db.Update(func(tx *bbolt.Tx) error { return record(tx, turn) })
		if err == nil {
			kept.Store(turn + 1)
		}
		return err
	}, func(turn uint64) error {
		n := kept.Load()
		if n == 0 {
			return nil
		}
		return db.View(func(tx *bbolt.Tx) error {
			key := binary.BigEndian.AppendUint64(nil, turn*7919%n)
			if tx.Bucket([]byte("records")).Get(key) == nil {
				return fmt.Errorf("record %x is lost", key)
			}
			return nil
		})
	})
}

// acknowledger puts records into a bbolt database, and says so of each when it is committed, until
// that fails. It begins when it is told to.
func acknowledger(volume string, in *bufio.Reader) error {
	db, err := bbolt.Open(filepath.Join(volume, "bolt.db"), 0o600, &bbolt.Options{NoSync: os.Getenv("NOSYNC") != "", NoGrowSync: os.Getenv("NOSYNC") != ""})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	for turn := uint64(0); ; turn++ {
		if err := commit(db, turn); err != nil {
			fmt.Println("failed")
			_, err := in.ReadString('\n')
			return err
		}
		fmt.Println(turn)
	}
}

// commit commits one record. bbolt reads its file through a mapping, and a mapping of a disk
// that has lost its power faults: that is a failure, too, and no end of the process.
func commit(db *bbolt.DB, turn uint64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%v", fault)
		}
	}()
	return db.Update(func(tx *bbolt.Tx) error { return record(tx, turn) })
}

func record(tx *bbolt.Tx, turn uint64) error {
	bucket, err := tx.CreateBucketIfNotExists([]byte("records"))
	if err != nil {
		return err
	}
	key := binary.BigEndian.AppendUint64(nil, turn)
	return bucket.Put(key, append(key, make([]byte, turn*97%3000)...))
}

// sharer starts two processes that write lines through one open file description.
func sharer(volume string, in *bufio.Reader) error {
	f, err := os.Create(filepath.Join(volume, "shared"))
	if err != nil {
		return err
	}
	var writers []*exec.Cmd
	for _, what := range []string{"aaaaaaa", "bbbbbbb"} {
		cmd := exec.Command("sh", "-c", "while :; do echo "+what+"; done")
		cmd.Stdout = f
		if err := cmd.Start(); err != nil {
			return err
		}
		writers = append(writers, cmd)
	}
	err = until(in, func(uint64) error { time.Sleep(time.Millisecond); return nil })
	for _, cmd := range writers {
		err = errors.Join(err, cmd.Process.Kill())
	}
	return err
}

// peeker looks at a byte through a mapping when it is told to.
func peeker(volume string, in *bufio.Reader) error {
	name := filepath.Join(volume, "file")
	if err := os.WriteFile(name, []byte{42}, 0o600); err != nil {
		return err
	}
	fd, err := unix.Open(name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	debug.SetPanicOnFault(true)
	look := func() (seen string) {
		defer func() {
			if recover() != nil {
				seen = "SIGBUS"
			}
		}()
		return fmt.Sprint(m[0])
	}
	fmt.Println("ready")
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return err
		}
		fmt.Println(look())
	}
}
