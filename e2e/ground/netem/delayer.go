package netem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// readBurst is how many packets are taken in before those that are due go out.
const readBurst = 64

// delayer serves netem on one device of its network namespace.
type delayer struct {
	device *net.Interface
	line   *line
	queue  *queue
	rule   *rule
	links  *socket // tells when a device goes
	began  time.Time
}

// newDelayer begins to serve o on a device: from here on packets are held.
func newDelayer(name string, o Options) (_ *delayer, err error) {
	d := &delayer{line: newLine(o, rand.Uint64()), began: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.links, err = openSocket(unix.NETLINK_ROUTE, unix.RTMGRP_LINK); err != nil {
		return nil, err
	}
	if d.device, err = net.InterfaceByName(name); err != nil { // after the subscription: none goes unseen
		return nil, err
	}
	if d.queue, err = openQueue(o.Limit); err != nil {
		return nil, err
	}
	d.rule, err = setRule(d.device, d.queue.number, d.queue.refuse)
	return d, err
}

// run holds packets until stop can be read from or the device is gone, as a
// qdisc goes with its device. Then it releases what it holds.
func (d *delayer) run(stop int) (err error) {
	w, err := newWaiter(stop, d.links.fd, d.queue.fd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	for {
		if err := d.release(d.now()); err != nil {
			return err
		}
		timeout := time.Duration(-1)
		if due, ok := d.line.next(); ok {
			timeout = max(0, due-d.now())
		}
		if err := w.wait(timeout); err != nil {
			return err
		}
		if w.ready(stop) {
			return d.drain()
		}
		if w.ready(d.links.fd) && d.gone() {
			return nil // and the packets with it
		}
		if w.ready(d.queue.fd) {
			if _, err := d.accept(readBurst); err != nil {
				return err
			}
		}
	}
}

func (d *delayer) now() time.Duration { return time.Since(d.began) }

// accept takes in up to n packets and returns how many came.
func (d *delayer) accept(n int) (int, error) {
	for i := range n {
		id, err := d.queue.next()
		if err == unix.EAGAIN || err == unix.ENOBUFS {
			return i, nil
		}
		if err != nil {
			return i, fmt.Errorf("read packets: %w", err)
		}
		if d.line.add(id, d.now()) {
			continue
		}
		if err := d.queue.decide(id, verdictDrop); err != nil {
			return i, err
		}
	}
	return n, nil
}

// release sends off the packets that are due.
func (d *delayer) release(now time.Duration) error {
	for {
		id, ok := d.line.take(now)
		if !ok {
			return d.queue.flush()
		}
		if err := d.queue.decide(id, verdictAccept); err != nil {
			return err
		}
	}
}

// settle is how long a packet may be on its way from the rule to the queue.
const settle = 10 * time.Millisecond

// drain ends the rule and releases every packet at once.
func (d *delayer) drain() error {
	if err := d.rule.clear(); err != nil {
		return err
	}
	fds := []unix.PollFd{{Fd: int32(d.queue.fd), Events: unix.POLLIN}}
	for {
		came, err := d.accept(readBurst)
		if err != nil {
			return err
		}
		if err := d.release(1<<63 - 1); err != nil || came == readBurst {
			if err != nil {
				return err
			}
			continue
		}
		n, err := unix.Poll(fds, int(settle.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for packets: %w", err)
		}
		if n == 0 && err == nil {
			return nil
		}
	}
}

// gone reads what happened to devices and tells whether ours was removed.
func (d *delayer) gone() bool {
	b := make([]byte, 1<<16)
	n, err := unix.Read(d.links.fd, b)
	if err != nil { // events were lost: look for ourselves
		_, err := net.InterfaceByIndex(d.device.Index)
		return err != nil
	}
	for m := range messagesIn(b[:n]) {
		if m.kind == unix.RTM_DELLINK && len(m.body) >= unix.SizeofIfInfomsg && m.body[0] == unix.AF_UNSPEC &&
			int(int32(binary.NativeEndian.Uint32(m.body[4:]))) == d.device.Index {
			return true
		}
	}
	return false
}

// close ends the rule, then the queue.
func (d *delayer) close() error {
	var errs []error
	if d.rule != nil {
		errs = append(errs, d.rule.close())
	}
	if d.queue != nil {
		errs = append(errs, d.queue.close())
	}
	if d.links != nil {
		errs = append(errs, d.links.close())
	}
	return errors.Join(errs...)
}
