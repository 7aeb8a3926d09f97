package metric

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Verifier reads the counters of the eBPF verifier.
type Verifier interface {
	// Counters returns packets by verdict.
	Counters() (map[string]uint64, error)
	// Lost returns the records that the ring buffer had no room for.
	Lost() (uint64, error)
}

// RegisterVerifier exports v's counters, read from the kernel at every scrape.
// While they cannot be read, the last values are kept: a counter that vanished
// would look like one that never grew.
func RegisterVerifier(reg prometheus.Registerer, v Verifier) {
	reg.MustRegister(&verifierCollector{
		v:       v,
		packets: prometheus.NewDesc(PacketsTotal, "Packets seen by the eBPF verifier, by verdict.", []string{LabelVerdict}, nil),
		lost:    prometheus.NewDesc(RingbufLostTotal, "Records that the verifier's ring buffer had no room for.", nil, nil),
	})
}

type verifierCollector struct {
	v             Verifier
	packets, lost *prometheus.Desc

	mu           sync.Mutex
	lastCounters map[string]uint64
	lastLost     uint64
}

func (c *verifierCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.packets
	ch <- c.lost
}

func (c *verifierCollector) Collect(ch chan<- prometheus.Metric) {
	counters, lost := c.read()
	for _, v := range Verdicts {
		ch <- prometheus.MustNewConstMetric(c.packets, prometheus.CounterValue, float64(counters[v]), v)
	}
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(lost))
}

func (c *verifierCollector) read() (map[string]uint64, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if counters, err := c.v.Counters(); err == nil {
		c.lastCounters = counters
	}
	if lost, err := c.v.Lost(); err == nil {
		c.lastLost = lost
	}
	return c.lastCounters, c.lastLost
}
