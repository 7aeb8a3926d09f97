package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// Ballot says who is home of a session. The highest one wins.
type Ballot struct {
	Epoch uint64 `json:"e,omitempty"`
	Home  string `json:"h,omitempty"`
}

func (b Ballot) less(o Ballot) bool {
	return b.Epoch < o.Epoch || b.Epoch == o.Epoch && b.Home < o.Home
}

// kind is the kind of a message.
type kind uint8

const (
	propose  kind = iota + 1 // home: hold this state under my ballot
	accepted                 // answer: held, or a higher ballot is promised
	prepare                  // claimant: promise me this ballot; with a zero ballot: what do you know?
	promise                  // answer
	page                     // node without memory: what do you hold after this id?
	copies                   // answer
	request                  // do this for a client of mine, you are home
	response                 // answer
	handover                 // claim these from their home, which leaves or is lost
)

// snapshot is what a node holds of a session. Version 0 is a promise without a state.
type snapshot struct {
	ID       string `json:"i"`
	Promised Ballot `json:"p"`
	Accepted Ballot `json:"a,omitzero"`
	Version  uint64 `json:"v,omitempty"`
	Body     []byte `json:"b,omitempty"`
	// Age is the time since the session was last used, in milliseconds.
	Age int64 `json:"t,omitempty"`
}

// message is any message between nodes; which fields are set follows from Kind.
type message struct {
	Kind    kind      `json:"k"`
	ID      string    `json:"i,omitempty"`
	Ballot  Ballot    `json:"b,omitzero"`
	Highest Ballot    `json:"p,omitzero"` // promised by the sender
	Round   uint64    `json:"r,omitempty"`
	Copy    *snapshot `json:"c,omitempty"`
	// What a claimant has, so that a promise need not carry it.
	Have        Ballot `json:"hb,omitzero"`
	HaveVersion uint64 `json:"hv,omitempty"`
	// Of the sender: its word counts; it never held a session.
	Settled bool `json:"s,omitempty"`
	Blank   bool `json:"n,omitempty"`

	After  string     `json:"f,omitempty"`
	More   bool       `json:"m,omitempty"`
	Copies []snapshot `json:"cs,omitempty"`
	IDs    []string   `json:"is,omitempty"`
	Home   string     `json:"h,omitempty"` // of IDs

	Ticket uint64  `json:"t,omitempty"`
	Op     Op      `json:"o,omitempty"`
	Body   []byte  `json:"d,omitempty"`
	Match  *uint64 `json:"w,omitempty"`
	Answer *answer `json:"a,omitempty"`
}

// asked is when something was last sent that is to be answered, and how long
// the answer may take.
type asked struct {
	at   time.Time
	wait time.Duration
}

func (a asked) due(now time.Time) bool { return now.Sub(a.at) >= a.wait }

// again is what holds after it was sent once more, and its answer is waited for so long at least. An answer that cannot
// have come yet is not missing: to send again before it can would double what goes over a slow link, which makes it slower.
func (a asked) again(now time.Time, least time.Duration) asked {
	return asked{now, min(max(least, 2*a.wait), max(resendMax, least))}
}

// patience is how long an answer that is expected after some time is waited for. It is bounded: what a peer's echoes say
// of the way to it may be a lie, or old, and a client's operation has to stand the loss of two messages.
func patience(answer time.Duration) time.Duration { return min(expected(answer), resendFar) }

// expected is when an answer should have come that takes some time.
func expected(answer time.Duration) time.Duration { return max(resend, answer+answer/4) }

var errMessage = errors.New("home: malformed message")

// errNotTaken says that this node cannot do as a message says, which a sound node may send: it
// is what others have told that one, or this one, that stands in the way.
var errNotTaken = errors.New("home: not taken")

func (m *message) encode() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic("home: " + err.Error()) // there is nothing in it that JSON does not know
	}
	return b
}

func decode(b []byte) (*message, error) {
	m := &message{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	return m, m.check()
}

func (m *message) check() error {
	ids := m.IDs
	for _, c := range m.Copies {
		if err := c.check(); err != nil {
			return err
		}
	}
	switch m.Kind {
	case propose:
		if m.Copy == nil || m.Copy.Version == 0 {
			return fmt.Errorf("%w: proposal without a state", errMessage)
		}
		fallthrough
	case accepted, prepare, promise, request:
		ids = append(ids, m.ID)
	case response:
		if m.Answer == nil {
			return fmt.Errorf("%w: response without an answer", errMessage)
		}
	case handover:
		if m.Home == "" {
			return fmt.Errorf("%w: hand-over from no home", errMessage)
		}
	case page, copies:
	default:
		return fmt.Errorf("%w: kind %d", errMessage, m.Kind)
	}
	for _, id := range ids {
		if !ValidID(id) {
			return fmt.Errorf("%w: id %.40q", errMessage, id)
		}
	}
	if m.Copy != nil {
		if m.Copy.ID != m.ID {
			return fmt.Errorf("%w: copy of %.40q in a message about %.40q", errMessage, m.Copy.ID, m.ID)
		}
		if err := m.Copy.check(); err != nil {
			return err
		}
		if m.Kind == promise && m.Copy.Promised != m.Highest {
			return fmt.Errorf("%w: promise of %s contradicts itself", errMessage, m.ID)
		}
		if m.Kind == promise && m.Copy.Version == 0 { // who asks would take the session for known, and ask no more
			return fmt.Errorf("%w: promise of %s with a copy of nothing", errMessage, m.ID)
		}
	}
	if len(m.Body) > MaxBody {
		return fmt.Errorf("%w: body of %d bytes", errMessage, len(m.Body))
	}
	if m.After != "" && !ValidID(m.After) {
		return fmt.Errorf("%w: page after %.40q", errMessage, m.After)
	}
	if m.Home != "" && !identity.ValidName(m.Home) {
		return fmt.Errorf("%w: home %.40q", errMessage, m.Home)
	}
	ballots := []Ballot{m.Ballot, m.Highest, m.Have}
	if m.Answer != nil {
		ballots = append(ballots, m.Answer.Ballot)
		if len(m.Answer.Body) > MaxBody || len(m.Answer.Reason) > maxReason || !utf8.ValidString(m.Answer.Reason) {
			return fmt.Errorf("%w: answer", errMessage)
		}
	}
	return checkBallots(ballots...)
}

// checkBallots says whether ballots that came from elsewhere can be some.
func checkBallots(ballots ...Ballot) error {
	for _, b := range ballots {
		if b != (Ballot{}) && (b.Epoch > maxEpoch || !identity.ValidName(b.Home)) {
			return fmt.Errorf("%w: ballot %d of %.40q", errMessage, b.Epoch, b.Home)
		}
	}
	return nil
}

func (c *snapshot) check() error {
	switch {
	case !ValidID(c.ID):
		return fmt.Errorf("%w: id %.40q", errMessage, c.ID)
	case len(c.Body) > MaxBody:
		return fmt.Errorf("%w: copy of %s is too long", errMessage, c.ID)
	case c.Age < 0 || c.Age > int64(maxAge/time.Millisecond):
		return fmt.Errorf("%w: copy of %s is %d ms old", errMessage, c.ID, c.Age)
	case c.Version > maxVersion:
		return fmt.Errorf("%w: version %d of %s", errMessage, c.Version, c.ID)
	case c.Promised.less(c.Accepted):
		return fmt.Errorf("%w: copy of %s accepted more than it promised", errMessage, c.ID)
	}
	return checkBallots(c.Promised, c.Accepted)
}

const (
	// idLen is the length of an id: 16 random bytes in hexadecimal.
	idLen  = 32
	maxAge = 365 * 24 * time.Hour
	// maxEpoch keeps epochs far from their end: no one can claim a session for good.
	maxEpoch = 1 << 48
	// maxLeap is how many claims of a session a node may have missed.
	maxLeap = 1 << 16
	// maxVersion keeps versions from their end, too: a peer may state any of a session, and after
	// the largest number comes one that no peer takes from a home.
	maxVersion = 1 << 62
	// maxReason bounds the words of an answer, in bytes.
	maxReason = 512
)

// ValidID reports whether id has the form of a session's id.
func ValidID(id string) bool {
	if len(id) != idLen {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
