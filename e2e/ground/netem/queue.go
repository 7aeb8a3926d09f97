package netem

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// linux/netfilter/nfnetlink_queue.h and linux/netfilter.h
const (
	queuePacket  = unix.NFNL_SUBSYS_QUEUE << 8 // and 0
	queueVerdict = unix.NFNL_SUBSYS_QUEUE<<8 | 1
	queueConfig  = unix.NFNL_SUBSYS_QUEUE<<8 | 2

	packetHeader  = 1 // NFQA_PACKET_HDR
	verdictHeader = 2 // NFQA_VERDICT_HDR

	configCommand = 1 // NFQA_CFG_CMD
	configParams  = 2 // NFQA_CFG_PARAMS
	configLength  = 3 // NFQA_CFG_QUEUE_MAXLEN
	configMask    = 4 // NFQA_CFG_MASK
	configFlags   = 5 // NFQA_CFG_FLAGS

	commandBind = 1
	copyMeta    = 1
	failOpen    = 1 << 0
	wholeGSO    = 1 << 2

	verdictDrop   = 0
	verdictAccept = 1
)

const (
	firstQueue = 0x6e65 // and the next ones, if it is taken
	queueTries = 256
	// backlog is how many packets may wait to be read beside those that are held, and
	// backlogBytes how much memory their announcements may take.
	backlog      = 1 << 15
	backlogBytes = 32 << 20
	// verdictBatch is how many verdicts go to the kernel at once.
	verdictBatch = 128
)

// queue is a netfilter queue: packets wait in the kernel until their verdict. When
// its socket is closed the kernel drops those that still wait, and the rule lets
// later ones pass.
type queue struct {
	*socket
	number   uint16
	refuse   uint16 // another queue, which takes no packets
	in       []byte
	verdicts []byte
	waiting  int // verdicts to be sent
}

// openQueue takes over a queue of the network namespace for so many packets.
func openQueue(packets uint32) (*queue, error) {
	s, err := openSocket(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	q := &queue{socket: s, in: make([]byte, 1<<13)}
	if q.number, err = q.bind(firstQueue); err == nil {
		q.refuse, err = q.bind(q.number + 1) // a new queue is in the mode that refuses every packet
	}
	if err == nil {
		err = q.prepare(packets)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netfilter queue: %w", err), s.close())
	}
	return q, nil
}

// bind takes over the first free queue.
func (q *queue) bind(first uint16) (uint16, error) {
	for n := first; ; n++ {
		err := q.configure(n, func(a *attributes) { a.bytes(configCommand, []byte{commandBind, 0, 0, 0}) })
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EPERM) || n == first+queueTries {
			return n, err
		}
	}
}

func (q *queue) prepare(packets uint32) error {
	flags := uint32(failOpen | wholeGSO) // netem, too, takes a segmented packet as one
	return errors.Join(
		q.configure(q.number, func(a *attributes) {
			a.bytes(configParams, []byte{0, 0, 0, 0, copyMeta})
			a.number(configLength, packets+backlog)
			a.number(configFlags, flags)
			a.number(configMask, flags)
		}),
		unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, backlogBytes),
		unix.SetsockoptInt(q.fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1),
		unix.SetNonblock(q.fd, true),
	)
}

func (q *queue) configure(number uint16, fill func(*attributes)) error {
	m := message{kind: queueConfig, flags: unix.NLM_F_ACK, resource: number}
	fill(&m.body)
	return q.request(m)
}

// next returns the identity of the next packet. The error is EAGAIN if none is there.
func (q *queue) next() (uint32, error) {
	for {
		n, err := rawRead(q.fd, q.in)
		if err != nil {
			return 0, err
		}
		for m := range messagesIn(q.in[:n]) {
			if m.kind != queuePacket || len(m.body) < 4 {
				continue // a verdict that came too late for its packet
			}
			if header := attribute(m.body[4:], packetHeader); len(header) >= 4 {
				return binary.BigEndian.Uint32(header), nil
			}
		}
	}
}

// decide notes the verdict on a packet, for flush to send.
func (q *queue) decide(id, verdict uint32) error {
	m := message{kind: queueVerdict, resource: q.number}
	m.body.bytes(verdictHeader, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, verdict), id))
	q.verdicts = m.appendTo(q.verdicts, 0)
	if q.waiting++; q.waiting < verdictBatch {
		return nil
	}
	return q.flush()
}

// flush sends the verdicts that were noted.
func (q *queue) flush() error {
	if q.waiting == 0 {
		return nil
	}
	_, err := rawWrite(q.fd, q.verdicts)
	q.verdicts, q.waiting = q.verdicts[:0], 0
	if err != nil {
		return fmt.Errorf("send verdicts: %w", err)
	}
	return nil
}
