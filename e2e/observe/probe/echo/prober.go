package echo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Peer is a pod to probe.
type Peer struct {
	Name string
	Addr netip.AddrPort
}

// Prober probes its peers and answers theirs.
type Prober struct {
	// Pod is the name of the pod that the prober runs in.
	Pod string
	// Peers are the pods to probe.
	Peers []Peer
	// Out takes the JSON lines.
	Out io.Writer

	seq uint64
}

// packet is one that arrived: a reply, or a request of a peer, told by its address.
type packet struct {
	request bool
	peer    uint64
	sent    time.Time
	arrived time.Time
}

// Run probes over conn until the context ends, which is no error. It closes
// conn.
func (p *Prober) Run(ctx context.Context, conn *net.UDPConn) error {
	trackers := make([]*tracker, len(p.Peers))
	for i, peer := range p.Peers {
		trackers[i] = &tracker{peer: peer.Name}
	}
	if err := p.say(Line{Kind: Start, Time: time.Now()}); err != nil {
		return errors.Join(err, conn.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan packet, 256)
	done := make(chan error, 1)
	go func() {
		done <- p.receive(ctx, conn, replies)
		cancel() // a deaf prober must not go on and call everybody cut
	}()
	err := p.loop(ctx, conn, trackers, replies)
	cancel()
	err = errors.Join(err, conn.Close())
	if rerr := <-done; rerr != nil && !errors.Is(rerr, net.ErrClosed) {
		err = errors.Join(err, rerr)
	}
	return err
}

// loop owns the trackers. A send that fails (no route, filtered locally:
// EPERM is what an iptables DROP in OUTPUT gives) is a request that nobody
// answers, which is what the prober is there to see.
func (p *Prober) loop(ctx context.Context, conn *net.UDPConn, trackers []*tracker, replies <-chan packet) error {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	state := time.NewTicker(StateEvery)
	defer state.Stop()
	var buf []byte
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-replies:
			if r.peer >= uint64(len(trackers)) {
				continue
			}
			k := trackers[r.peer]
			if r.request {
				k.heard = r.arrived
				continue
			}
			if c, changed := k.reply(r.sent, r.arrived); changed {
				if err := p.change(k, c); err != nil {
					return err
				}
			}
		case <-tick.C:
			// After a stall of our own the replies may still be in the socket's
			// buffer: nobody is judged before the next tick.
			stalled := time.Since(last) > Silence/2
			last = time.Now()
			for i, k := range trackers {
				now := time.Now()
				if !stalled {
					if c, changed := k.check(now); changed {
						if err := p.change(k, c); err != nil {
							return err
						}
					}
				}
				k.request(now)
				buf = appendRequest(buf[:0], uint64(i), now)
				_, _ = conn.WriteToUDPAddrPort(buf, p.Peers[i].Addr)
			}
		case <-state.C:
			l := Line{Kind: State, Time: time.Now()}
			for _, k := range trackers {
				l.Peers = append(l.Peers, k.state())
			}
			if err := p.say(l); err != nil {
				return err
			}
		}
	}
}

// receive answers requests at once and hands replies to the loop.
func (p *Prober) receive(ctx context.Context, conn *net.UDPConn, replies chan<- packet) error {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		kind, peer, sent := parse(buf[:n])
		switch kind {
		case kindRequest:
			buf[4] = kindReply
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
			peer = p.at(from.Addr())
		case kindReply:
		default:
			continue
		}
		select {
		case replies <- packet{request: kind == kindRequest, peer: peer, sent: sent, arrived: time.Now()}:
		case <-ctx.Done():
			return net.ErrClosed
		}
	}
}

// at returns the index of the peer with an address, or one that is no peer's.
func (p *Prober) at(a netip.Addr) uint64 {
	i := slices.IndexFunc(p.Peers, func(peer Peer) bool { return peer.Addr.Addr() == a.Unmap() })
	return uint64(i) // -1 is beyond every peer
}

func (p *Prober) change(k *tracker, c change) error {
	return p.say(Line{Kind: Change, Time: time.Now(), Peer: k.peer, Up: c.up, At: c.at})
}

func (p *Prober) say(l Line) error {
	p.seq++
	l.Seq, l.Pod = p.seq, p.Pod
	l.Time, l.At = l.Time.UTC(), l.At.UTC()
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode line: %w", err)
	}
	if _, err := p.Out.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write line: %w", err)
	}
	return nil
}
