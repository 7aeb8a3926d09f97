package home

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/crash"
	"github.com/x0tta6bl4/mesh/meshnode/internal/share"
)

// Session is what a client is told of its session.
type Session struct {
	ID      string
	Home    string
	Epoch   uint64 // counts the homes
	Version uint64 // counts the updates, from 1
	Body    []byte // of Get
}

// Errors of operations. ErrBusy comes with its reason.
var (
	ErrMissing  = errors.New("no such session; it may have ended unused")
	ErrConflict = errors.New("the session has another version")
	ErrBusy     = errors.New("try again")
)

// Keeper runs a Table.
type Keeper struct {
	self string
	// send sends to a peer; it may lose, and must not block.
	send func(peer string, payload []byte) error
	// migrated is told how many sessions were taken over.
	migrated func(int)
	// refused is told of a message that no sound peer sends.
	refused func(peer string, err error)
	logger  *slog.Logger
	inbox   chan inbound
	room    *share.Room // in inbox

	mu      sync.Mutex
	table   *Table
	waiting map[uint64]chan Result
}

type inbound struct {
	from    string
	payload []byte
}

// inbox is how many messages may wait, and half of it how many of one peer; more are dropped
// and sent again.
const inbox = 1024

// NewKeeper returns a Keeper; Run makes it work.
func NewKeeper(self string, l Limits, send func(string, []byte) error, migrated func(int), refused func(string, error), logger *slog.Logger) *Keeper {
	return &Keeper{
		self: self, send: send, migrated: migrated, refused: refused, logger: logger, inbox: make(chan inbound, inbox), room: share.New(inbox),
		table: New(time.Now(), self, l), waiting: map[uint64]chan Result{},
	}
}

// Receive takes a message, which it copies. It does not block.
func (k *Keeper) Receive(from string, payload []byte) {
	if k.room.Take(from) { // and so in the channel
		k.inbox <- inbound{from, slices.Clone(payload)}
	}
}

// Run handles messages until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-k.inbox:
			k.room.Give(m.from)
			k.do(func(now time.Time) Output {
				var out Output
				err := crash.Contain(func() (err error) {
					out, err = k.table.Receive(now, m.from, m.payload)
					return err
				})
				switch {
				case errors.Is(err, errNotTaken):
					k.logger.Debug("session message not taken", "peer", m.from, "error", err)
				case err != nil:
					k.refused(m.from, err)
				}
				return out
			})
		case <-ticker.C:
			k.do(k.table.Tick)
		}
	}
}

// do lets f work on the table and carries out what comes of it.
func (k *Keeper) do(f func(now time.Time) Output) {
	k.mu.Lock()
	out := f(time.Now())
	for _, r := range out.Done {
		if c := k.waiting[r.Ticket]; c != nil {
			c <- r // it has room for the one result
			delete(k.waiting, r.Ticket)
		}
	}
	k.mu.Unlock()
	if out.Migrated > 0 {
		k.migrated(out.Migrated)
	}
	for _, m := range out.Send {
		if err := k.send(m.To, m.Payload); err != nil {
			k.logger.Debug("session message not sent", "peer", m.To, "error", err)
		}
	}
}

// SetView tells the keeper what the mesh looks like.
func (k *Keeper) SetView(v View) {
	k.do(func(now time.Time) Output { return k.table.SetView(now, v) })
}

// Migrate takes sessions of a lost peer over; see Table.Migrate.
func (k *Keeper) Migrate(peer string) (err error) {
	k.do(func(now time.Time) (out Output) {
		out, err = k.table.Migrate(now, peer)
		return out
	})
	return err
}

// Left notes that a peer said goodbye.
func (k *Keeper) Left(peer string) {
	k.do(func(now time.Time) Output { k.table.Left(now, peer); return Output{} })
}

// Homed returns the number of sessions whose home is a node.
func (k *Keeper) Homed(node string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.Homed(node)
}

// Homes returns the number of sessions by home.
func (k *Keeper) Homes() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.Homes()
}

// Settled reports whether this node takes part; see Table.Settled.
func (k *Keeper) Settled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.table.Settled()
}

// Handover hands this node's sessions over and returns when other nodes are
// their homes, when there is nobody to take them, or with an error when ctx ends.
func (k *Keeper) Handover(ctx context.Context) error {
	k.do(k.table.Leave)
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for {
		k.mu.Lock()
		left, alone := k.table.Homed(k.self), len(k.table.live) == 0
		k.mu.Unlock()
		if left == 0 || alone {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d sessions were not taken over in time", left)
		case <-ticker.C:
		}
	}
}

// Yield begins or ends to hand this node's sessions over while it stays; see Table.Yield.
func (k *Keeper) Yield(on bool) {
	k.do(func(now time.Time) Output { return k.table.Yield(now, on) })
}

// Create makes a session.
func (k *Keeper) Create(ctx context.Context, body []byte) (Session, error) {
	var b [idLen / 2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return Session{}, err
	}
	return k.ask(ctx, Request{Op: Create, ID: hex.EncodeToString(b[:]), Body: body})
}

// Get reads a session.
func (k *Keeper) Get(ctx context.Context, id string) (Session, error) {
	return k.ask(ctx, Request{Op: Read, ID: id})
}

// Update replaces the state of a session, if match is nil or its version.
func (k *Keeper) Update(ctx context.Context, id string, match *uint64, body []byte) (Session, error) {
	return k.ask(ctx, Request{Op: Update, ID: id, Match: match, Body: body})
}

// ask does an operation and waits for its end.
func (k *Keeper) ask(ctx context.Context, r Request) (Session, error) {
	done := make(chan Result, 1)
	var ticket uint64
	k.do(func(now time.Time) (out Output) {
		ticket, out = k.table.Do(now, r)
		k.waiting[ticket] = done
		return out
	})
	select {
	case res := <-done:
		s := Session{ID: r.ID, Home: res.Home.Home, Epoch: res.Home.Epoch, Version: res.Version, Body: res.Body}
		switch res.Code {
		case Done:
			return s, nil
		case Missing:
			return s, ErrMissing
		case Conflict:
			return s, fmt.Errorf("%w: %d", ErrConflict, res.Version)
		default:
			return s, fmt.Errorf("%s: %w", res.Reason, ErrBusy)
		}
	case <-ctx.Done():
		k.mu.Lock()
		k.table.Cancel(ticket)
		delete(k.waiting, ticket)
		k.mu.Unlock()
		return Session{}, ctx.Err()
	}
}
