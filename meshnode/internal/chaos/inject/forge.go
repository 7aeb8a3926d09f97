package inject

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/pmtu"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// forgedTypes are the frames of sessions, of every class.
var forgedTypes = []frame.Type{frame.AttestationSignature, frame.Challenge, frame.Heartbeat, frame.Data}

// forge is what somebody off the path can do, who has no header key: frames of every
// class with a random tag, from another socket. Half of them are for sessions that do
// not exist, half for the injector's own, whose ids it could not know. It returns an
// error if that ended a session.
func (a *attack) forge(ctx context.Context) (err error) {
	if a.cfg.Forged == 0 {
		return nil
	}
	conn, err := a.cfg.Listen()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	before := a.sessions()
	for range a.cfg.Forged {
		for _, t := range a.cfg.Targets {
			if err := a.forgeRound(conn, t, before[t.Name].ID); err != nil {
				return fmt.Errorf("forge frames for %s: %w", t.Name, err)
			}
		}
		if err := pause(ctx, a.cfg.Interval); err != nil {
			return err
		}
	}
	return a.unharmed(ctx, a.sessions(), before)
}

// unharmed waits until every target has attested itself since, on the session that
// it had before.
func (a *attack) unharmed(ctx context.Context, since, before map[string]session.Info) error {
	ctx, cancel := context.WithTimeout(ctx, meetWithin)
	defer cancel()
	for {
		now, late := a.sessions(), ""
		for _, t := range a.cfg.Targets {
			switch s := now[t.Name]; {
			case s.ID != before[t.Name].ID:
				return fmt.Errorf("forged frames ended the session with %s", t.Name)
			case s.VerifiedUntil <= since[t.Name].VerifiedUntil:
				late = t.Name
			}
		}
		if late == "" {
			return nil
		}
		if err := pause(ctx, poll); err != nil {
			return fmt.Errorf("forged frames silenced the session with %s: %w", late, err)
		}
	}
}

// forgedPayload is the payload of a forged frame in bytes: what every path carries.
const forgedPayload = pmtu.Base - frame.HeaderLen

func (a *attack) forgeRound(conn transport.Conn, t Target, id frame.SessionID) error {
	var unknown frame.SessionID
	rand.Read(unknown[:])
	for _, s := range []frame.SessionID{id, unknown} {
		for _, typ := range forgedTypes {
			var key frame.Key
			var sequence [1]byte
			rand.Read(key[:])
			rand.Read(sequence[:])
			b := make([]byte, pmtu.Base)
			rand.Read(b[frame.HeaderLen:])
			h := frame.Header{
				Type: typ, Length: forgedPayload, Fragment: 0, Fragments: 3, Session: s,
				Sequence: 1 + uint64(sequence[0]), // near what a young session has come to
			}
			h.Put(b, key)
			if err := conn.WriteTo(b, t.Addr); err != nil {
				return err
			}
			a.forged[t.Name]++
		}
	}
	return nil
}
