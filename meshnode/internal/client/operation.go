package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// Times of an operation.
const (
	// hedgeAfter is the time without an answer after which an attempt gets a rival.
	hedgeAfter = 600 * time.Millisecond
	// retryWait is the first pause after a failed attempt; it doubles up to retryMax.
	// The Retry-After of an answer, in whole seconds, is too coarse for the budget.
	retryWait = 50 * time.Millisecond
	retryMax  = 200 * time.Millisecond
)

// target is where operations go.
type target struct {
	url     string
	node    string // the node that it is, or
	service string // the Service that leads to one
}

// caller does one operation after the other at a target.
type caller struct {
	c      *Client
	at     *target
	conn   *transport // the one that answered last; nil: a new one is to be made
	unsure bool       // the last update had no answer
}

func (l *caller) close() {
	if l.conn != nil {
		l.conn.close()
		l.conn = nil
	}
}

// attempt is one attempt at an operation and what came of it.
type attempt struct {
	request
	conn *transport
	err  error
}

// do runs one operation, records it and returns it. An operation that is under way when
// ctx ends goes on, for its retry budget at most: it may have taken place, and a history
// without it would call its record invented.
func (l *caller) do(ctx context.Context, r request) api.Operation {
	r.op.Service, r.op.Node, r.op.Invoked = l.at.service, l.at.node, time.Now()
	if r.op.Node == "" {
		r.op.Node = l.at.service
	}
	op := l.try(context.WithoutCancel(ctx), r)
	op.Returned = time.Now()
	if err := l.c.cfg.History.Append(op); err != nil {
		l.c.cfg.Logger.Error("history not written", "error", err)
	}
	return op
}

// try makes attempts until one succeeds, or it makes no sense to go on, or the budget
// is spent. A new attempt begins after a failed one, or beside one that is not answered
// in time: the node may be gone, or only slow, and who asks a slow one anew waits
// anew (Dean and Barroso, "The tail at scale", 2013). To do an operation twice is
// the same as once.
func (l *caller) try(ctx context.Context, r request) api.Operation {
	limit, cancel := context.WithTimeout(ctx, api.RetryBudget)
	ended, running := make(chan *attempt), 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			(<-ended).conn.close()
		}
	}()
	op, wait := r.op, retryWait
	next := time.NewTimer(hedgeAfter)
	defer next.Stop()
	start := func() {
		if limit.Err() != nil {
			return
		}
		op.Attempts++
		running++
		a := &attempt{request: r, conn: l.take()}
		go func() {
			a.err = a.conn.attempt(limit, l.at, &a.request)
			ended <- a
		}()
		next.Reset(hedgeAfter)
	}
	start()
	for {
		select {
		case <-next.C:
			start()
		case a := <-ended:
			running--
			a.op.Attempts, a.op.Errors, a.op.Result = op.Attempts, op.Errors, api.OK
			if a.err == nil {
				l.conn = a.conn
				return a.op
			}
			a.conn.close()
			a.op.Errors, a.op.Result = append(op.Errors, a.err.Error()), outcome(op.Result, a)
			if op = a.op; permanent(op.Status) || running == 0 && limit.Err() != nil {
				return op
			}
			next.Reset(wait)
			wait = min(2*wait, retryMax)
		case <-done(limit, running):
			return op
		}
	}
}

// done is closed when the budget is spent, unless attempts are still to end: they
// do then, too.
func done(limit context.Context, running int) <-chan struct{} {
	if running > 0 {
		return nil
	}
	return limit.Done()
}

// take returns the connection of the last operation, for one attempt, or a new one,
// which may reach another node.
func (l *caller) take() *transport {
	conn := l.conn
	if l.conn = nil; conn == nil {
		conn = &transport{c: l.c}
	}
	return conn
}

// outcome judges a failed attempt after others: a write failed for sure only if it
// was not sent, or refused as wrong. An earlier unknown stays unknown.
func outcome(earlier api.Result, a *attempt) api.Result {
	if earlier == api.Unknown {
		return api.Unknown
	}
	if a.method == http.MethodGet || errors.Is(a.err, errNotSent) || permanent(a.op.Status) || a.op.Status == http.StatusUnauthorized {
		return api.Failed
	}
	if e, ok := errors.AsType[*net.OpError](a.err); ok && e.Op == "dial" {
		return api.Failed
	}
	return api.Unknown
}

// permanent reports whether repeating cannot help.
func permanent(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusUnauthorized
}

// pause waits for d and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
