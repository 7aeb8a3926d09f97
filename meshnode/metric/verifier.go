package metric

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Verifier reads the counters of the eBPF verifier.
type Verifier interface {
	// Counters returns packets by verdict.
	Counters() (map[string]uint64, error)
	// Malformed returns malformed packets by the rule that they break.
	Malformed() (map[string]uint64, error)
	// Lost returns the records that the ring buffer had no room for.
	Lost() (uint64, error)
}

// RegisterVerifier exports v's counters, read from the kernel at every scrape.
// While they cannot be read, the last values are kept: a counter that vanished
// would look like one that never grew.
func RegisterVerifier(reg prometheus.Registerer, v Verifier) {
	reg.MustRegister(&verifierCollector{
		v:         v,
		packets:   prometheus.NewDesc(PacketsTotal, "Packets seen by the eBPF verifier, by verdict.", []string{LabelVerdict}, nil),
		malformed: prometheus.NewDesc(MalformedTotal, "Malformed packets, by the rule that they break.", []string{LabelRule}, nil),
		lost:      prometheus.NewDesc(RingbufLostTotal, "Records that the verifier's ring buffer had no room for.", nil, nil),
	})
}

type verifierCollector struct {
	v                        Verifier
	packets, malformed, lost *prometheus.Desc

	mu   sync.Mutex
	last counts
}

// counts are the verifier's counters at one time.
type counts struct {
	packets, malformed map[string]uint64
	lost               uint64
}

func (c *verifierCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.packets
	ch <- c.malformed
	ch <- c.lost
}

func (c *verifierCollector) Collect(ch chan<- prometheus.Metric) {
	now := c.read()
	for _, v := range Verdicts() {
		ch <- prometheus.MustNewConstMetric(c.packets, prometheus.CounterValue, float64(now.packets[v]), v)
	}
	for _, r := range Rules() {
		ch <- prometheus.MustNewConstMetric(c.malformed, prometheus.CounterValue, float64(now.malformed[r]), r)
	}
	ch <- prometheus.MustNewConstMetric(c.lost, prometheus.CounterValue, float64(now.lost))
}

func (c *verifierCollector) read() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if packets, err := c.v.Counters(); err == nil {
		c.last.packets = packets
	}
	if malformed, err := c.v.Malformed(); err == nil {
		c.last.malformed = malformed
	}
	if lost, err := c.v.Lost(); err == nil {
		c.last.lost = lost
	}
	return c.last
}
