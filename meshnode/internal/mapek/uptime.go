package mapek

import "time"

const (
	// availabilityWindow is how far a peer's availability looks back.
	availabilityWindow = time.Hour
	// maxOutages bounds what is kept of a peer: with more outages in the window it
	// looks back less far.
	maxOutages = 256
)

// uptime is the times at which a peer was not reachable.
type uptime struct {
	from    time.Time // looks back to here
	outages []outage  // oldest first
	since   time.Time // the outage that lasts; zero if there is none
}

type outage struct{ from, to time.Time }

// begin starts anew with a peer that is reachable.
func (u *uptime) begin(now time.Time) { *u = uptime{from: now} }

// fell notes that the peer has not been heard since a time.
func (u *uptime) fell(since time.Time) {
	if u.since.IsZero() {
		u.since = since
		if since.Before(u.from) {
			u.since = u.from
		}
	}
}

// rose notes that it is heard again.
func (u *uptime) rose(now time.Time) {
	if u.since.IsZero() {
		return
	}
	u.outages = append(u.outages, outage{u.since, now})
	u.since = time.Time{}
	if len(u.outages) > maxOutages {
		u.from, u.outages = u.outages[0].to, u.outages[1:]
	}
}

// share is the share of the window in which the peer was reachable, 0 to 1.
func (u *uptime) share(now time.Time) float64 {
	if start := now.Add(-availabilityWindow); start.After(u.from) {
		u.from = start
	}
	for len(u.outages) > 0 && !u.outages[0].to.After(u.from) {
		u.outages = u.outages[1:]
	}
	whole := now.Sub(u.from)
	if whole <= 0 {
		return 1
	}
	var down time.Duration
	count := func(o outage) {
		if o.from.Before(u.from) {
			o.from = u.from
		}
		down += max(o.to.Sub(o.from), 0)
	}
	for _, o := range u.outages {
		count(o)
	}
	if !u.since.IsZero() {
		count(outage{u.since, now})
	}
	return float64(whole-min(down, whole)) / float64(whole)
}

// Availability is the share of the last hour, or of the time since they were met, in
// which peers were reachable: 0 to 1, by peer. An outage counts from when the peer
// was last heard.
func (l *Loop) Availability(now time.Time) map[string]float64 {
	all := map[string]float64{}
	for name, p := range l.view.Peers {
		if p.Met {
			all[name] = p.up.share(now)
		}
	}
	return all
}

// What a link is trusted with after it was lost: TrustBack when it is back, and then
// more by the second up to full trust after trustRestore.
const (
	TrustBack    = 0.5
	trustRestore = 10 * time.Second
)

// Trust is the share of its full preference that routes are to give the link to a
// peer for what it did lately: 0 while the link is lost, TrustBack when it is back
// or its peer has started again, and 1 from trustRestore after that. Without
// healing it is always 1.
func (l *Loop) Trust(now time.Time, peer string) float64 {
	p := l.view.Peers[peer]
	if !l.cfg.Heal || p == nil || !p.Met {
		return 1
	}
	if !p.Reachable {
		return 0
	}
	if p.back.IsZero() {
		return 1
	}
	return min(TrustBack+(1-TrustBack)*float64(now.Sub(p.back))/float64(trustRestore), 1)
}
