package transport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Conditions describe one direction of a link of the in-memory network.
type Conditions struct {
	Latency   time.Duration
	Jitter    time.Duration // uniform, added to Latency; more than the gap between datagrams reorders them
	Loss      float64       // probability 0..1
	Duplicate float64       // probability 0..1
	Reorder   float64       // probability 0..1 of being delayed by one more Latency+Jitter+1ms
	MTU       int           // larger packets are lost, headers of IP and UDP included; 0: none are
}

// Network is an in-memory network for tests. It starts no goroutine but
// timers', so that it runs inside a testing/synctest bubble, where every
// Endpoint of a Network must be used in the bubble that made the Network.
// A seed makes its chances repeatable.
type Network struct {
	mu        sync.Mutex
	rand      *rand.Rand
	endpoints map[netip.AddrPort]*Endpoint
	base      Conditions
	links     map[link]Conditions
	cut       map[link]bool
	mtu       map[netip.Addr]int // of the interface of an address
	filter    func(from, to netip.AddrPort, b []byte) []byte
}

type link struct{ from, to netip.Addr }

// NewNetwork returns a network without latency or loss.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rand:      rand.New(rand.NewPCG(seed, seed)),
		endpoints: make(map[netip.AddrPort]*Endpoint),
		links:     make(map[link]Conditions),
		cut:       make(map[link]bool),
		mtu:       make(map[netip.Addr]int),
	}
}

// endpointQueue is the number of datagrams that wait at an endpoint, as in a
// socket's receive buffer; further ones are lost.
const endpointQueue = 4096

// Listen returns a Conn bound to addr.
func (n *Network) Listen(addr netip.AddrPort) (*Endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.endpoints[addr]; taken {
		return nil, fmt.Errorf("in-memory network: %v is in use", addr)
	}
	e := &Endpoint{net: n, addr: addr, in: make(chan datagram, endpointQueue), done: make(chan struct{})}
	n.endpoints[addr] = e
	return e, nil
}

// SetConditions sets the conditions of every link that has none of its own.
func (n *Network) SetConditions(c Conditions) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.base = c
}

// SetLink sets the conditions from a to b; the other direction is a link of
// its own.
func (n *Network) SetLink(a, b netip.Addr, c Conditions) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[link{a, b}] = c
}

// SetMTU sets the MTU of the interface of an address; that of others is 1,500.
func (n *Network) SetMTU(a netip.Addr, mtu int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mtu[a] = mtu
}

// Cut drops everything between a and b, in both directions, also what is under
// way.
func (n *Network) Cut(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{a, b}], n.cut[link{b, a}] = true, true
}

// Heal undoes Cut.
func (n *Network) Heal(a, b netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, link{a, b})
	delete(n.cut, link{b, a})
}

// Partition cuts every link between different groups.
func (n *Network) Partition(groups ...[]netip.Addr) {
	for i, g := range groups {
		for _, h := range groups[i+1:] {
			for _, a := range g {
				for _, b := range h {
					n.Cut(a, b)
				}
			}
		}
	}
}

// HealAll undoes every Cut.
func (n *Network) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// SetFilter makes f see every datagram when it is sent. What f returns goes on
// in its place; nil drops it. f owns b and must not call the network.
func (n *Network) SetFilter(f func(from, to netip.AddrPort, b []byte) []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.filter = f
}

// Inject sends b as if it came from the address from: what an attacker with raw
// sockets can do.
func (n *Network) Inject(from, to netip.AddrPort, b []byte) { n.send(from, to, b) }

func (n *Network) send(from, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b = append([]byte(nil), b...)
	if n.filter != nil {
		if b = n.filter(from, to, b); b == nil {
			return
		}
	}
	l := link{from.Addr(), to.Addr()}
	c, ok := n.links[l]
	if !ok {
		c = n.base
	}
	if n.cut[l] || n.rand.Float64() < c.Loss || c.MTU > 0 && len(b)+Overhead(to.Addr()) > c.MTU {
		return
	}
	copies := 1
	if n.rand.Float64() < c.Duplicate {
		copies = 2
	}
	for range copies {
		d := c.Latency
		if c.Jitter > 0 {
			d += time.Duration(n.rand.Int64N(int64(c.Jitter)))
		}
		if n.rand.Float64() < c.Reorder {
			d += c.Latency + c.Jitter + time.Millisecond
		}
		if d == 0 {
			n.deliver(from, to, b)
			continue
		}
		time.AfterFunc(d, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.deliver(from, to, b)
		})
	}
}

// deliver needs n.mu.
func (n *Network) deliver(from, to netip.AddrPort, b []byte) {
	e := n.endpoints[to]
	if e == nil || n.cut[link{from.Addr(), to.Addr()}] {
		return
	}
	select {
	case e.in <- datagram{b, from}:
	default: // queue full: lost, as in a socket
	}
}

type datagram struct {
	b    []byte
	from netip.AddrPort
}

// Endpoint is a Conn of a Network.
type Endpoint struct {
	net  *Network
	addr netip.AddrPort
	in   chan datagram
	done chan struct{}
	once sync.Once
}

// ReadFrom implements Conn.
func (e *Endpoint) ReadFrom(b []byte) (int, netip.AddrPort, error) {
	select {
	case <-e.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	case d := <-e.in:
		return copy(b, d.b), d.from, nil
	}
}

// WriteTo implements Conn.
func (e *Endpoint) WriteTo(b []byte, to netip.AddrPort) error {
	select {
	case <-e.done:
		return net.ErrClosed
	default:
	}
	if largest := e.Largest(to.Addr()); len(b) > largest {
		return fmt.Errorf("in-memory network: %d bytes, at most %d: %w", len(b), largest, syscall.EMSGSIZE)
	}
	e.net.send(e.addr, to, b)
	return nil
}

// Largest implements Conn.
func (e *Endpoint) Largest(to netip.Addr) int {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	mtu, ok := e.net.mtu[e.addr.Addr()]
	if !ok {
		mtu = defaultMTU
	}
	return mtu - Overhead(to)
}

// LocalAddr implements Conn.
func (e *Endpoint) LocalAddr() netip.AddrPort { return e.addr }

// Close implements Conn and frees the address.
func (e *Endpoint) Close() error {
	e.once.Do(func() {
		close(e.done)
		e.net.mu.Lock()
		defer e.net.mu.Unlock()
		delete(e.net.endpoints, e.addr)
	})
	return nil
}
