package store

import (
	"maps"
	"time"

	"golang.org/x/time/rate"
)

const (
	// answerRate is how many bytes a second one peer's questions are answered with, and
	// answerBurst how many after a rest. A question takes a few bytes and its answer up to 6 MB,
	// which are to be read, encoded and sealed: without a bound one member keeps a node busy.
	// The rate is that of relays (package session). A node without memory asks another of its
	// peers every second. Of two or more, each has rested for two seconds when its turn comes,
	// so that the node gets a burst a second; of a single one it gets half of that.
	answerRate  = 8 << 20
	answerBurst = 2 * answerRate
)

// weight is about what records take that are read and sent.
func weight(records ...Record) (bytes int) {
	const names = 256
	for i := range records {
		r := &records[i]
		bytes += names + len(r.Body)*4/3 + len(r.proof.signature) + len(r.proof.certificate)
	}
	return bytes
}

// answers bounds what questions are answered with, by peer. Who is not in it has rested.
type answers map[string]*rate.Limiter

// due reports whether a peer is to be answered. The last answer may have been more than there was.
func (a answers) due(now time.Time, peer string) bool {
	l := a[peer]
	return l == nil || l.TokensAt(now) > 0
}

// gave notes what a peer is answered with, in bytes; also what is read for it and not sent.
func (a answers) gave(now time.Time, peer string, bytes int) {
	l := a[peer]
	if l == nil {
		l = rate.NewLimiter(answerRate, answerBurst)
		a[peer] = l
	}
	l.ReserveN(now, min(bytes, answerBurst))
}

// forget drops the peers that have rested.
func (a answers) forget(now time.Time) {
	maps.DeleteFunc(a, func(_ string, l *rate.Limiter) bool { return l.TokensAt(now) >= answerBurst })
}
