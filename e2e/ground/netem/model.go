package netem

import (
	"math/rand/v2"
	"time"
)

// Model decides the fate of packets as Linux's sch_netem does, with the same
// arithmetic (net/sched/sch_netem.c: get_crandom, loss_event, tabledist), so that
// its peculiarities are there as well: a correlated random number is a moving
// average, which makes extreme values rarer, so that a correlated loss falls
// below its nominal share; and a uniform jitter is such a number modulo its
// width, so that a correlation of the delay vanishes unless it is close to 100 %.
type Model struct {
	options     Options
	random      *rand.Rand
	delay, loss average
}

// average is the memory of a correlated random number.
type average struct{ last, rho uint32 }

// NewModel returns the model of o. Equal seeds make equal models.
func NewModel(o Options, seed uint64) *Model {
	r := rand.New(rand.NewPCG(seed, 0))
	return &Model{
		options: o, random: r,
		delay: average{last: r.Uint32(), rho: uint32(o.DelayCorrelation)},
		loss:  average{last: r.Uint32(), rho: uint32(o.LossCorrelation)},
	}
}

// Next returns the delay of the next packet, or that it is lost.
func (m *Model) Next() (delay time.Duration, lost bool) {
	if m.options.Loss > 0 && uint32(m.options.Loss) >= m.next(&m.loss) {
		return 0, true
	}
	if m.options.Jitter == 0 {
		return m.options.Latency, false
	}
	width := 2 * uint32(m.options.Jitter)
	return m.options.Latency - m.options.Jitter + time.Duration(m.next(&m.delay)%width), false
}

// next draws a random number that depends on the last one.
func (m *Model) next(a *average) uint32 {
	value := uint64(m.random.Uint32())
	if a.rho == 0 {
		return uint32(value)
	}
	rho := uint64(a.rho) + 1
	a.last = uint32((value*(1<<32-rho) + uint64(a.last)*rho) >> 32)
	return a.last
}
