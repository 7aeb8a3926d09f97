package netem

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// attributes is a list of netlink attributes in the making. Numbers in netfilter's
// are big-endian.
type attributes []byte

func (a *attributes) bytes(kind uint16, value []byte) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(unix.NLA_HDRLEN+len(value)))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
	*a = append(*a, value...)
	*a = append(*a, make([]byte, -len(value)&(unix.NLA_ALIGNTO-1))...)
}

func (a *attributes) text(kind uint16, s string) { a.bytes(kind, append([]byte(s), 0)) }

func (a *attributes) number(kind uint16, n uint32) {
	a.bytes(kind, binary.BigEndian.AppendUint32(nil, n))
}

func (a *attributes) short(kind uint16, n uint16) {
	a.bytes(kind, binary.BigEndian.AppendUint16(nil, n))
}

func (a *attributes) nest(kind uint16, fill func(*attributes)) {
	var inner attributes
	fill(&inner)
	a.bytes(kind|unix.NLA_F_NESTED, inner)
}

// message is one of nfnetlink.
type message struct {
	kind     uint16 // subsystem << 8 | type
	flags    uint16
	family   uint8
	resource uint16
	body     attributes
}

// nfgenHeader is the length of a netlink and an nfnetlink header.
const nfgenHeader = unix.NLMSG_HDRLEN + 4

// appendTo appends the message under the given sequence number.
func (m message) appendTo(b []byte, sequence uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(nfgenHeader+len(m.body)))
	b = binary.NativeEndian.AppendUint16(b, m.kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|m.flags)
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = append(b, 0, 0, 0, 0) // the kernel knows the sender
	b = append(b, m.family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, m.resource)
	return append(b, m.body...)
}

// socket speaks netlink with the kernel.
type socket struct {
	fd       int
	sequence uint32
}

// answerSeconds is how long the kernel may take to answer.
const answerSeconds = 5

func openSocket(family int, groups uint32) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerSeconds}),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netlink socket: %w", err), unix.Close(fd))
	}
	return &socket{fd: fd}, nil
}

func (s *socket) close() error { return unix.Close(s.fd) }

// request sends messages at once and waits until each that has NLM_F_ACK is
// acknowledged. It returns the first error among the acknowledgements.
func (s *socket) request(messages ...message) error {
	var out []byte
	first, waiting := s.sequence+1, 0
	for _, m := range messages {
		s.sequence++
		out = m.appendTo(out, s.sequence)
		if m.flags&unix.NLM_F_ACK != 0 {
			waiting++
		}
	}
	if _, err := unix.Write(s.fd, out); err != nil {
		return fmt.Errorf("netlink request: %w", err)
	}
	var failed error
	for in := make([]byte, 1<<16); waiting > 0; {
		n, err := unix.Read(s.fd, in)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("netlink answer: %w", err))
		}
		for m := range messagesIn(in[:n]) {
			if m.kind != unix.NLMSG_ERROR || m.sequence < first || len(m.body) < 4 {
				continue
			}
			waiting--
			if code := int32(binary.NativeEndian.Uint32(m.body)); code != 0 && failed == nil {
				failed = unix.Errno(-code)
			}
		}
	}
	return failed
}

// received is a netlink message from the kernel.
type received struct {
	kind     uint16
	sequence uint32
	body     []byte // after the netlink header
}

// messagesIn yields the messages of a datagram; one that is cut short ends it.
func messagesIn(b []byte) func(yield func(received) bool) {
	return func(yield func(received) bool) {
		for len(b) >= unix.NLMSG_HDRLEN {
			n := int(binary.NativeEndian.Uint32(b))
			if n < unix.NLMSG_HDRLEN || n > len(b) {
				return
			}
			if !yield(received{
				kind: binary.NativeEndian.Uint16(b[4:]), sequence: binary.NativeEndian.Uint32(b[8:]),
				body: b[unix.NLMSG_HDRLEN:n],
			}) {
				return
			}
			b = b[min(len(b), (n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
		}
	}
}

// attribute returns the value of the first attribute of a kind, or nil.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= unix.NLA_HDRLEN {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.NLA_HDRLEN || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return b[unix.NLA_HDRLEN:n]
		}
		b = b[min(len(b), (n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
	return nil
}
