package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// storage is what the node knows of its store's disk, and of what the loop does about it.
type storage struct {
	kind string    // what the loop was told is wrong; empty: nothing
	slow latch     // commits take too long
	well time.Time // since when nothing is wrong although kind is not empty; zero: something is

	recovers atomic.Bool // recover_store is under way
	replace  atomic.Bool // request_replacement is
}

// tryEvery is the time between two attempts at a disk that is at fault.
const tryEvery = 500 * time.Millisecond

var errDisk = errors.New("its disk is at fault")

// countCommit is told of each commit of the store.
func (n *Node) countCommit(took time.Duration, f store.Fault) {
	n.metrics.StoreCommit.Observe(took.Seconds())
	if f != "" {
		n.metrics.StoreErrors.WithLabelValues(string(f)).Inc()
	}
}

// judgeStore tells the loop what is wrong with the store. It does not wait for the disk.
func (n *Node) judgeStore(now time.Time) {
	s, d := &n.storage, n.store.Disk()
	n.metrics.StoreBytes.Set(float64(n.store.Used()))
	n.metrics.StoreBusy.Set(d.Busy.Seconds())
	limits := n.cfg.Policy.Storage
	// One commit that took long says little of the next, if none has come for a while.
	latency := time.Duration(limits.Latency)
	late := d.Busy >= latency || d.Took >= latency && (d.Busy > 0 || now.Sub(d.Ended) < 2*measure)
	s.slow.sample(now, late, time.Duration(limits.For))
	kind, reason := "", ""
	switch {
	case d.Fault != "":
		kind, reason = string(d.Fault), d.Err.Error()
	case s.slow.on:
		kind, reason = metric.FaultLatency, fmt.Sprintf("a commit takes %v", max(d.Busy, d.Took).Round(time.Millisecond))
	case n.store.Full():
		kind, reason = metric.FaultQuota, "the store has reached its quota"
	}
	if d.Fault != "" || late {
		n.records.Excuse(now)
	}
	switch {
	case kind != "" && kind != s.kind:
		n.tellFault(now, kind, reason)
	case kind != "" || late:
		s.well = time.Time{}
	case s.kind == "":
	case s.well.IsZero():
		s.well = now
	}
	// A quota is no matter of luck: it is over as soon as it is not reached.
	if s.kind != "" && !s.well.IsZero() && (s.kind == metric.FaultQuota || now.Sub(s.well) >= time.Duration(limits.Rest)) {
		n.tellFault(now, "", "")
	}
}

func (n *Node) tellFault(now time.Time, kind, reason string) {
	n.storage.kind, n.storage.well = kind, time.Time{}
	n.metrics.SetStoreFault(kind)
	n.condition(now, n.name, mapek.Condition{Type: metric.StorageFault, Kind: kind, On: kind != "", Reason: reason})
}

// tendStore tries the disk of a store while the loop wants it recovered, until ctx ends. The attempts are what
// shows that the disk is sound again when nobody else writes.
func (n *Node) tendStore(ctx context.Context) {
	ticker := time.NewTicker(tryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !n.storage.recovers.Load() {
			continue
		}
		err := n.store.Recover()
		if err == nil {
			err = n.store.Try()
		}
		if err != nil {
			n.log.Debug("the disk is still at fault", "error", err)
		}
	}
}

// endStorageRelief ends what the actions of a storage_fault began when it is over.
func (n *Node) endStorageRelief() {
	if n.loop.Faulty() {
		return
	}
	n.storage.recovers.Store(false)
	n.storage.replace.Store(false)
	if n.store.Refusing() {
		n.store.Refuse(nil)
	}
}
