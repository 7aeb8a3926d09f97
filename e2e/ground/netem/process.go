package netem

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// firstHandle is the handle that the kernel gives to a qdisc that is added without one.
const firstHandle = "8001:"

const (
	// delayerVariable makes this command the process that holds the packets.
	delayerVariable = "X0TTA6BL4_TC_DELAYER"
	ready           = "ready"
	startTimeout    = 10 * time.Second
)

// start runs this command again with the same arguments as a process that outlives
// it, and returns when that holds packets.
func start(args []string) (pid int, err error) {
	// The caller may have left descriptors open that it waits on.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return 0, fmt.Errorf("close inherited files: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "tc"
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), delayerVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	late := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Kill() }) // Process.Kill fails if it has ended
	defer late.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if line = strings.TrimSpace(line); line == ready {
		pid = cmd.Process.Pid // Release forgets it
		return pid, cmd.Process.Release()
	}
	if line == "" && err != nil {
		line = "it ended without a word"
	}
	_ = cmd.Wait() // what it said says more
	return 0, errors.New(line)
}

// serve is the process: it serves the qdisc that i adds until it is told to end.
func serve(i invocation) int {
	err := serveDevice(i, func() error {
		if _, err := fmt.Println(ready); err != nil {
			return err
		}
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		return unix.Dup3(int(null.Fd()), 1, 0) // the caller reads until we close it
	})
	if err != nil {
		fmt.Println(strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// serveDevice serves until it is told to end; it calls started when packets are held.
func serveDevice(i invocation, started func() error) (err error) {
	hurry()
	runtime.GOMAXPROCS(1) // one loop does it all: another processor would only be woken in vain
	options, err := ParseOptions(i.netem)
	if err != nil {
		return err
	}
	stopped, stopRead, err := onSignal()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopped.Close(), stopRead.Close()) }()

	path, err := statePath(i.device)
	if err != nil {
		return err
	}
	file, err := claim(path)
	if err != nil {
		return err
	}
	state := State{
		Served: Userspace, Device: i.device, Handle: cmp.Or(i.handle, firstHandle), Options: options.String(),
		PID: os.Getpid(), Since: time.Now().UTC(),
	}
	defer func() { // the lock ends with the process, after everything else
		if err == nil {
			err = os.Remove(path)
			return
		}
		state.Error = err.Error()
		err = errors.Join(err, state.write(file))
	}()
	d, err := newDelayer(i.device, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	state.Backpressure = d.rule.backpressure
	if err := state.write(file); err != nil {
		return err
	}
	if err := started(); err != nil {
		return err
	}
	return d.run(int(stopRead.Fd()))
}

// hurry lets this process run before others, as the kernel's netem does. To Linux a priority is that of a thread, and of those
// that it begins (sched(7)). Without the privilege it stays as it is.
func hurry() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, -20)
		}
	}
}

// onSignal returns a pipe that can be read from once a signal to end has come.
func onSignal() (w, r *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	signal.Ignore(unix.SIGHUP)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		<-signals
		_, _ = w.Write([]byte{0}) // fails only if we are at the end anyway
	}()
	return w, r, nil
}
