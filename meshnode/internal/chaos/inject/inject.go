// Package inject attacks mesh nodes over the wire, to test what they make of it: with
// invalid attestation signatures, with handshakes of unknown keys, and with frames
// of a forger who has no header key.
//
// A node verifies a signature only if the frame that carries it has the tag of an
// established session. So the injector is a member: it holds a certificate of the
// mesh and keeps real sessions, whose attestations it then spoils. It sends no
// heartbeats; to the nodes it is a member that they have not met, whose silence
// worries none, and whom they forget a minute after it left.
//
// Nothing of the protocol is written anew here. Two session managers do the work, and
// the connections below them are what is malicious.
package inject

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// Target is a node that is attacked.
type Target struct {
	Name string
	Addr netip.AddrPort
}

// Config configures an attack. Identity, Targets, Interval and Listen are required.
type Config struct {
	Identity *identity.Node // of a member, named as no node is
	Targets  []Target
	// What every target gets, one of each kind per Interval.
	Signatures  int // invalid attestations
	UnknownKeys int // handshakes with a key that the mesh's root did not sign
	Forged      int // rounds of frames with a wrong tag; see forge
	Interval    time.Duration
	// Stay is how long the injector remains as an honest member afterwards, so that
	// what the nodes do about it (new keys) finds it there.
	Stay   time.Duration
	Listen func() (transport.Conn, error)
	Logger *slog.Logger // nil: none
}

// Counts says what a target was sent.
type Counts struct {
	Node        string `json:"node"`
	Signatures  int    `json:"bad_signatures"`
	UnknownKeys int    `json:"unknown_keys"`
	Forged      int    `json:"forged_frames"`
}

const (
	// meetWithin is how long the first sessions may take.
	meetWithin = 10 * time.Second
	// slack is how much longer than its intervals an attack may take.
	slack = 15 * time.Second
	poll  = 10 * time.Millisecond
	// persistAfter is how long after the last bad signature frames of the ended sessions
	// are sent: a node may take a second to end one.
	persistAfter = time.Second
	// reason goes into the injector's own events only.
	reason = "inject"
)

// attack is an attack under way.
type attack struct {
	cfg    Config
	member *session.Manager
	spoil  *spoiler
	rogue  *rogue
	forged map[string]int // frames by target
}

// Run attacks and returns what was sent, also with an error.
func Run(ctx context.Context, cfg Config) ([]Counts, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &attack{cfg: cfg, forged: map[string]int{}}
	conn, err := cfg.Listen()
	if err != nil {
		return nil, err
	}
	a.spoil = &spoiler{Conn: conn}
	a.member, err = newManager(cfg.Identity, a.spoil, cfg.Logger)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if cfg.UnknownKeys > 0 {
		if a.rogue, err = newRogue(cfg); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.member.Run(ctx) })
	if a.rogue != nil {
		group.Go(func() error { return a.rogue.manager.Run(ctx) })
	}
	group.Go(func() error {
		defer cancel()
		return a.run(ctx)
	})
	err = group.Wait()
	return a.counts(), err
}

func newManager(id *identity.Node, conn transport.Conn, logger *slog.Logger) (*session.Manager, error) {
	return session.New(session.Config{Identity: id, Transport: conn, Table: noTable{}, Logger: logger})
}

// noTable stands for the kernel's table where no kernel verifies: frames are judged
// at the socket.
type noTable struct{}

func (noTable) Put(frame.SessionID, session.Entry) error              { return nil }
func (noTable) Delete(frame.SessionID) error                          { return nil }
func (noTable) Revoke(frame.SessionID) error                          { return nil }
func (noTable) SetVerifiedUntil(frame.SessionID, time.Duration) error { return nil }

func (a *attack) run(ctx context.Context) error {
	if a.cfg.Signatures > 0 || a.cfg.Forged > 0 {
		if err := a.meet(ctx); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{a.forge, a.inject} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if a.cfg.Signatures == 0 {
		return nil
	}
	if err := a.persist(ctx); err != nil {
		return err
	}
	return pause(ctx, a.cfg.Stay)
}

// persist goes on as if the nodes had ended no session: each gets a frame of every session
// that was spoiled, in a moment in which it has done what it does about that. Its verifier
// must drop them.
func (a *attack) persist(ctx context.Context) error {
	if err := pause(ctx, persistAfter); err != nil {
		return err
	}
	for _, t := range a.cfg.Targets {
		if err := a.spoil.again(t.Addr); err != nil {
			return err
		}
	}
	return nil
}

// meet makes a session with every target.
func (a *attack) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetWithin)
	defer cancel()
	for _, t := range a.cfg.Targets {
		a.member.Connect(session.Peer(t.Name), t.Addr)
		a.member.Rotate(session.Peer(t.Name), reason) // at once, whoever's turn it is to call
	}
	for {
		missing := a.unverified()
		if len(missing) == 0 {
			return nil
		}
		if err := pause(ctx, poll); err != nil {
			return fmt.Errorf("no session with %v within %v: %w", missing, meetWithin, err)
		}
	}
}

// sessions returns the sessions by target.
func (a *attack) sessions() map[string]session.Info {
	all := map[string]session.Info{}
	for _, s := range a.member.Sessions() {
		all[string(s.Peer)] = s
	}
	return all
}

func (a *attack) unverified() []string {
	now := a.sessions()
	var missing []string
	for _, t := range a.cfg.Targets {
		if now[t.Name].State != session.StateVerified {
			missing = append(missing, t.Name)
		}
	}
	return missing
}

// inject sends every target the bad signatures and unknown keys. A new session is
// challenged at once, and a node ends one that fails it too often: so every bad
// signature answers the first challenge of a session of its own.
func (a *attack) inject(ctx context.Context) error {
	for _, t := range a.cfg.Targets {
		a.spoil.allow(t.Addr, a.cfg.Signatures)
	}
	rounds := max(a.cfg.Signatures, a.cfg.UnknownKeys)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rounds)*a.cfg.Interval+slack)
	defer cancel()
	for round := 0; ; round++ {
		if a.rogue != nil && round < a.cfg.UnknownKeys {
			if err := a.rogue.call(a.cfg.Targets); err != nil {
				return err
			}
		}
		open := false
		for _, t := range a.cfg.Targets {
			if a.spoil.left(t.Addr) > 0 {
				open = true
				a.member.Rotate(session.Peer(t.Name), reason)
			}
		}
		if !open && round >= a.cfg.UnknownKeys {
			return nil
		}
		if err := pause(ctx, a.cfg.Interval); err != nil {
			return fmt.Errorf("nodes were not sent all: %w", err)
		}
	}
}

func (a *attack) counts() []Counts {
	var all []Counts
	for _, t := range a.cfg.Targets {
		c := Counts{Node: t.Name, Signatures: a.spoil.count(t.Addr), Forged: a.forged[t.Name]}
		if a.rogue != nil {
			c.UnknownKeys = a.rogue.gate.count(t.Addr)
		}
		all = append(all, c)
	}
	return all
}

// pause waits for d, or returns why it may not.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
