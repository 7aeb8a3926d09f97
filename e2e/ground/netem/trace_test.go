package netem

import (
	"math"
	"slices"
	"time"
)

// packetFate is what became of a packet.
type packetFate struct {
	delay time.Duration
	lost  bool
}

// trace is what became of packets, in the order in which they were sent.
type trace []packetFate

// delays returns those of the packets that arrived, in seconds.
func (s trace) delays() []float64 {
	var d []float64
	for _, p := range s {
		if !p.lost {
			d = append(d, p.delay.Seconds())
		}
	}
	return d
}

func (s trace) min() time.Duration { return time.Duration(slices.Min(s.delays()) * 1e9) }
func (s trace) max() time.Duration { return time.Duration(slices.Max(s.delays()) * 1e9) }

func (s trace) quantile(q float64) float64 {
	d := slices.Sorted(slices.Values(s.delays()))
	return d[int(q*float64(len(d)-1))]
}

func (s trace) mean() float64 { return mean(s.delays()) }

func mean(d []float64) float64 {
	sum := 0.0
	for _, x := range d {
		sum += x
	}
	return sum / float64(len(d))
}

// spread is the standard deviation.
func (s trace) spread() float64 {
	d := s.delays()
	m, sum := mean(d), 0.0
	for _, x := range d {
		sum += (x - m) * (x - m)
	}
	return math.Sqrt(sum / float64(len(d)))
}

// autocorrelation is the correlation of a delay with the one before.
func (s trace) autocorrelation() float64 {
	d := s.delays()
	m, sum, square := mean(d), 0.0, 0.0
	for i, x := range d {
		square += (x - m) * (x - m)
		if i > 0 {
			sum += (x - m) * (d[i-1] - m)
		}
	}
	return sum / square
}

// share is how many of the delays are in an interval.
func (s trace) share(from, width time.Duration) float64 {
	d, n := s.delays(), 0
	for _, x := range d {
		if x >= from.Seconds() && x < (from+width).Seconds() {
			n++
		}
	}
	return float64(n) / float64(len(d))
}

func (s trace) loss() float64 {
	n := 0
	for _, p := range s {
		if p.lost {
			n++
		}
	}
	return float64(n) / float64(len(s))
}

// lossAfterLoss is the share of packets lost among those whose predecessor was.
func (s trace) lossAfterLoss() float64 {
	n, after := 0, 0
	for i := range s[1:] {
		if s[i].lost {
			n++
			if s[i+1].lost {
				after++
			}
		}
	}
	return float64(after) / float64(n)
}
