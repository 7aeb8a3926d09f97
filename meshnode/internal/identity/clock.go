package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"time"
)

// MaxClockError is by how much the clock of a node's machine may be wrong when it enrols.
//
// Where times of two machines meet in a mesh, and why that is sound:
//
//   - A certificate's validity against the time of who checks it. Both are the
//     authority's: a node counts on from when its own certificate was issued (Node.Now),
//     and ClockSkew is more than a clock that runs 5 % wrong is off by when it is renewed.
//     The authority counts on from when it started (CA): its time never goes back while it runs.
//   - The TLS certificate of the CA against the clock of a node that enrols, which has no
//     other time yet: the chain is what is trusted, its time counts with MaxClockError.
//   - An enrolment request's time against the CA's: a node whose clock is off is told the
//     CA's time with the refusal, over TLS, and asks again with it.
//   - Which of two certificates of a name is newer (package session), and whether a route's
//     incarnation is its certificate's (package route): both are times of the authority.
//   - Which of two records under one id is the answer (package store): clocks of the two
//     nodes that accepted them. Any order does that is the same everywhere; a wrong clock
//     decides who wins, never what is kept.
//     Of the certificate that signed a record no time counts at all.
//   - How long ago a client session was used (package home): a duration, as the sender
//     measured it. One that runs 5 % wrong ends a session so much earlier or later.
//   - Journals of several nodes, which people read side by side: package event.
//   - What a peer's echo shows of its clock (package detect): to tell whose clock is wrong, and to
//     stamp records and journal with the time of most nodes meanwhile (package node).
//
// Nothing else compares them: who lives, who is verified and what is fresh follows from
// nonces and from time that passes on one machine. Of a machine's own clock only those
// readings are kept across a start that people read, and the times of blocks (package
// mapek), which last no longer than a block does.
const MaxClockError = 24*time.Hour + ClockSkew

// now is the CA's time as far as it is known.
func (e *Enroller) now() time.Time {
	clock := e.Clock
	if clock == nil {
		clock = time.Now
	}
	return clock().Add(e.offset)
}

// learnTime takes the CA's time from its answer, in whole seconds (RFC 9110, section 6.6.1).
func (e *Enroller) learnTime(resp *http.Response) {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return // another server in front of it, perhaps: the clock is what there is
	}
	if d := date.Sub(e.now()); d.Abs() > time.Minute {
		e.offset += d
		e.logger().Warn("this machine's clock is wrong; the CA's time counts", "by", e.offset)
	}
}

// tlsConfig trusts the API CA's certificates for the CA's name, at the machine's time or any
// within MaxClockError of it.
func (e *Enroller) tlsConfig(trust *Trust) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The chain and the name are verified below, as the standard library would.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("the CA shows no certificate")
			}
			leaf, now := cs.PeerCertificates[0], e.now()
			switch early, late := leaf.NotBefore.Sub(now), now.Sub(leaf.NotAfter); {
			case early > 0 && early <= MaxClockError:
				now = leaf.NotBefore
			case late > 0 && late <= MaxClockError:
				now = leaf.NotAfter
			}
			chain := x509.VerifyOptions{Roots: trust.APICA, DNSName: cs.ServerName, CurrentTime: now, Intermediates: x509.NewCertPool()}
			for _, c := range cs.PeerCertificates[1:] {
				chain.Intermediates.AddCert(c)
			}
			_, err := leaf.Verify(chain)
			return err
		},
	}
}
