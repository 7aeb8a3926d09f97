package node

import (
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/share"
)

// maxMessages bounds the control messages that wait, and half of it those of one
// peer; more are lost, as on a network. Events are not bounded here: the session manager takes
// no more work than it can do, and each frame by relay makes one.
const maxMessages = 4096

// inputs queues what arrives for the control goroutine.
type inputs struct {
	wake chan struct{} // holds a token while something waits

	mu       *sync.Mutex
	room     *share.Room // in messages
	messages []message
	events   []timed
	members  []Member // the newest lookup; nil if none waits
}

type message struct {
	from    string
	typ     frame.Type
	payload []byte
}

// timed is an event and when it came.
type timed struct {
	session.Event
	at time.Time
}

func newInputs() inputs {
	return inputs{wake: make(chan struct{}, 1), mu: new(sync.Mutex), room: share.New(maxMessages)}
}

func (i *inputs) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// take empties the queues.
func (i *inputs) take() (messages []message, events []timed, members []Member) {
	i.mu.Lock()
	defer i.mu.Unlock()
	messages, events, members = i.messages, i.events, i.members
	i.messages, i.events, i.members = nil, nil, nil
	for _, m := range messages {
		i.room.Give(m.from)
	}
	return messages, events, members
}

// onMessage is called by the session manager for every opened frame.
func (n *Node) onMessage(p session.Peer, t frame.Type, payload []byte) {
	if t.Class() == frame.ClassData {
		switch {
		case n.gate.Load() != nil:
		case t == frame.Client:
			n.clients.Receive(string(p), payload)
		case t == frame.Data || t == frame.DataAck:
			n.records.Receive(string(p), t, payload)
		}
		return
	}
	n.in.mu.Lock()
	if n.in.room.Take(string(p)) {
		n.in.messages = append(n.in.messages, message{string(p), t, slices.Clone(payload)})
	}
	n.in.mu.Unlock()
	n.in.signal()
}

// onEvent is called by the session manager.
func (n *Node) onEvent(e session.Event) {
	n.in.mu.Lock()
	n.in.events = append(n.in.events, timed{e, time.Now()})
	n.in.mu.Unlock()
	n.in.signal()
}
