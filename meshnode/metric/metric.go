package metric

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Set is all metrics of one node.
type Set struct {
	Verifications       *prometheus.CounterVec // result, priority
	VerificationsFailed prometheus.Counter
	Anomalies           *prometheus.CounterVec // type
	VerificationLatency prometheus.Histogram
	Timeouts            prometheus.Counter
	Shed                *prometheus.CounterVec // priority
	Deadline            *prometheus.GaugeVec   // peer
	PeerVerifications   *prometheus.CounterVec // peer, priority
	Sessions            *prometheus.GaugeVec   // state
	Established         *prometheus.CounterVec // reason
	Invalidated         *prometheus.CounterVec // reason
	Rotations           *prometheus.CounterVec // reason

	PeerUnreachable    *prometheus.CounterVec // peer
	PeerStatus         *prometheus.GaugeVec   // peer, status
	PathMTU            *prometheus.GaugeVec   // peer
	Isolated           *prometheus.GaugeVec   // cause
	RoutesRecalculated prometheus.Counter
	RouteMetric        *prometheus.GaugeVec // destination, next_hop
	FramesRelayed      prometheus.Counter
	FramesByRelay      *prometheus.CounterVec // peer
	RelayGap           *prometheus.GaugeVec   // peer
	RelayRefused       *prometheus.CounterVec // reason
	MessagesRefused    *prometheus.CounterVec // peer, type
	RTT                *prometheus.GaugeVec   // peer
	Availability       *prometheus.GaugeVec   // peer
	LinkWeight         *prometheus.GaugeVec   // peer
	Records            prometheus.Gauge
	RecordsReplicated  prometheus.Counter
	RecordsRefused     prometheus.Counter
	StoreBytes         prometheus.Gauge
	StoreQuota         prometheus.Gauge
	StoreCommit        prometheus.Histogram
	StoreBusy          prometheus.Gauge
	StoreErrors        *prometheus.CounterVec // kind
	StoreFault         *prometheus.GaugeVec   // kind
	ClockOffset        *prometheus.GaugeVec   // peer
	ScaleRequests      prometheus.Counter
	SessionsHomed      prometheus.Gauge
	SessionsMigrated   prometheus.Counter

	Detected          *prometheus.CounterVec   // type
	Healing           *prometheus.CounterVec   // action, outcome
	PhaseDuration     *prometheus.HistogramVec // phase
	IncidentDetection *prometheus.HistogramVec // type
	IncidentRecovery  *prometheus.HistogramVec // type
	IncidentsOpen     *prometheus.GaugeVec     // type

	// The load of this node as the loop judges it; 0 where it cannot be measured.
	NodeCPU, NodeMemory, NodeThrottled, NodeQueue, NodeLag prometheus.Gauge

	routes map[[2]string]float64 // of RouteMetric, by destination and next hop
}

// New registers the node's metrics with reg and sets every label value that a
// criterion or an alert reads to 0: a series that is born at 1 has no increase.
func New(reg prometheus.Registerer) *Set {
	s := &Set{
		Verifications:       counters(reg, VerificationsTotal, "Attestation signatures verified, by result and priority.", LabelResult, LabelPriority),
		VerificationsFailed: counter(reg, VerificationsFailed, "Attestation signatures that did not verify."),
		Anomalies:           counters(reg, AnomaliesTotal, "Anomalies of the PQC layer, by type.", LabelType),
		VerificationLatency: histogram(reg, VerificationLatency, "Time from a critical challenge sent to its verdict.",
			[]float64{.001, .002, .005, .01, .02, .05, .1, .15, .2, .25, .3, .4, .5, .75, 1, 2, 5}),
		Timeouts:          counter(reg, VerificationTimeouts, "Challenges whose deadline passed without being extended."),
		Shed:              counters(reg, VerificationsShed, "Attestations not asked for, signed or verified under load, by priority.", LabelPriority),
		Deadline:          gauges(reg, VerificationDeadline, "Time that a challenge to the peer gets now, extended or not.", LabelPeer),
		PeerVerifications: counters(reg, PeerVerificationsTotal, "Attestations of the peer that were good, by priority.", LabelPeer, LabelPriority),
		Sessions:          gauges(reg, Sessions, "Sessions with peers, by state.", LabelState),
		Established:       counters(reg, SessionsEstablishedTotal, "Sessions established, by reason.", LabelReason),
		Invalidated:       counters(reg, SessionsInvalidatedTotal, "Sessions invalidated, by reason.", LabelReason),
		Rotations:         counters(reg, KeyRotationsTotal, "Session keys rotated by a new handshake, by reason.", LabelReason),

		PeerUnreachable:    counters(reg, PeerUnreachable, "Times a peer was declared unreachable.", LabelPeer),
		PeerStatus:         gauges(reg, PeerStatus, "1 for the peer's present status, 0 for the others.", LabelPeer, LabelStatus),
		PathMTU:            gauges(reg, PathMTU, "Size of the largest IP packet that is known to pass straight to the peer unfragmented.", LabelPeer),
		Isolated:           gauges(reg, IsolatedNode, "1 while members are known and none is reached, by the likely cause.", LabelCause),
		RoutesRecalculated: counter(reg, RoutesRecalculated, "Changes of a destination's next hop."),
		RouteMetric:        gauges(reg, RouteMetric, "Transmit quality (0 to 255) of the route in use.", LabelDestination, LabelNextHop),
		FramesRelayed:      counter(reg, FramesRelayedTotal, "Frames passed on for other nodes."),
		FramesByRelay:      counters(reg, FramesByRelayTotal, "Sealed frames of a peer that came by relay.", LabelPeer),
		RelayGap:           gauges(reg, RelayGapSeconds, "Longest time between two frames of the peer that came by relay, since its link was lost last.", LabelPeer),
		RelayRefused:       counters(reg, RelayRefusedTotal, "Relayed frames dropped, by reason.", LabelReason),
		MessagesRefused:    counters(reg, MessagesRefusedTotal, "Messages of a member dropped because no sound node sends them, by type.", LabelPeer, LabelType),
		RTT:                gauges(reg, RTTSeconds, "Smoothed round-trip time of heartbeats.", LabelPeer),
		Availability:       gauges(reg, PeerAvailability, "Share of the last hour, or of the time since the peer was met, in which it was reachable.", LabelPeer),
		LinkWeight:         gauges(reg, LinkWeight, "Preference of routes for the link to a neighbour: 1 full, 0 lost.", LabelPeer),
		Records:            gauge(reg, Records, "Records held by this node."),
		RecordsReplicated:  counter(reg, RecordsReplicatedTotal, "Records received from other nodes and stored."),
		RecordsRefused:     counter(reg, RecordsRefusedTotal, "Records refused because the store has reached its quota."),
		StoreBytes:         gauge(reg, StoreBytes, "Bytes of the store in use."),
		StoreQuota:         gauge(reg, StoreQuota, "Bytes in use from which on the store refuses records; 0: none."),
		StoreCommit: histogram(reg, StoreCommit, "Time that a commit to the store's disk took, good or not.",
			[]float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}),
		StoreBusy:        gauge(reg, StoreBusy, "Time that the commit under way has been waiting for the disk."),
		StoreErrors:      counters(reg, StoreErrorsTotal, "Commits to the store's disk that failed, by kind.", LabelKind),
		StoreFault:       gauges(reg, StoreFault, "1 for what is wrong with the store, 0 for the others.", LabelKind),
		ClockOffset:      gauges(reg, ClockOffset, "How far a peer's clock is ahead of this node's, from its echoes.", LabelPeer),
		ScaleRequests:    counter(reg, ScaleRequestsTotal, "Requests for more nodes by a node that lacks resources."),
		SessionsHomed:    gauge(reg, SessionsHomed, "Client sessions that are at home on this node."),
		SessionsMigrated: counter(reg, SessionsMigratedTotal, "Client sessions that this node took over from another."),

		Detected: counters(reg, AnomaliesDetected, "Incidents opened by Analyze, by type.", LabelType),
		Healing:  counters(reg, HealingActionsTotal, "Healing actions that ended, by action and outcome.", LabelAction, LabelOutcome),
		PhaseDuration: histograms(reg, PhaseDuration, "Time one phase of the loop took.",
			[]float64{1e-6, 1e-5, 1e-4, .001, .01, .1, 1}, LabelPhase),
		IncidentDetection: histograms(reg, IncidentDetection, "Time from the last sign of health to the incident.",
			[]float64{.1, .2, .4, .6, .8, 1, 1.2, 1.5, 2, 3, 5, 10}, LabelType),
		IncidentRecovery: histograms(reg, IncidentRecovery, "Time from the incident's opening to its resolution.",
			[]float64{.1, .5, 1, 2, 3, 5, 10, 30, 60, 120, 300}, LabelType),
		IncidentsOpen: gauges(reg, IncidentsOpen, "Incidents that are not over, by type.", LabelType),

		NodeCPU:       gauge(reg, NodeCPU, "Share of the container's CPU limit in use."),
		NodeMemory:    gauge(reg, NodeMemory, "Share of the container's memory limit in use."),
		NodeThrottled: gauge(reg, NodeThrottled, "Share of the CPU limit's periods in which the container had to wait."),
		NodeQueue:     gauge(reg, NodeQueueSeconds, "Time that the oldest public-key operation has been waiting for a core."),
		NodeLag:       gauge(reg, NodeLagSeconds, "Most that the control loop came late since the last measurement."),
	}
	for _, p := range []string{PriorityCritical, PriorityLow} {
		s.Verifications.WithLabelValues(ResultSuccess, p)
		s.Verifications.WithLabelValues(ResultFailed, p)
		s.Shed.WithLabelValues(p)
	}
	zero(s.StoreErrors, []string{FaultError, FaultFull})
	s.SetStoreFault("")
	zero(s.Anomalies, AnomalyTypes())
	zero(s.Detected, IncidentTypes())
	zero(s.Established, []string{"connect", "accept", "reverify", "ttl", "sequence"})
	zero(s.Invalidated, []string{VerificationFailed})
	zero(s.RelayRefused, RefusedReasons())
	zero(s.Rotations, []string{"ttl", "sequence", ReasonCompromise})
	s.SetIsolated("")
	for _, v := range States() {
		s.Sessions.WithLabelValues(v)
	}
	for _, a := range Actions() {
		s.Healing.WithLabelValues(a, OutcomeDone)
		s.Healing.WithLabelValues(a, OutcomeFailed)
	}
	for _, p := range Phases() {
		s.PhaseDuration.WithLabelValues(p)
	}
	for _, t := range IncidentTypes() {
		s.IncidentDetection.WithLabelValues(t)
		s.IncidentRecovery.WithLabelValues(t)
		s.IncidentsOpen.WithLabelValues(t)
	}
	return s
}

// AddPeer makes the peer's series exist: counters and statuses at 0, and what is
// preferred and available until something is known against it at 1.
func (s *Set) AddPeer(peer string) {
	s.Availability.WithLabelValues(peer).Set(1)
	s.LinkWeight.WithLabelValues(peer).Set(1)
	s.Deadline.WithLabelValues(peer)
	s.PathMTU.WithLabelValues(peer)
	s.PeerUnreachable.WithLabelValues(peer)
	s.FramesByRelay.WithLabelValues(peer)
	s.RelayGap.WithLabelValues(peer)
	for _, p := range []string{PriorityCritical, PriorityLow} {
		s.PeerVerifications.WithLabelValues(peer, p)
	}
	for _, t := range MessageTypes() {
		s.MessagesRefused.WithLabelValues(peer, t)
	}
	for _, st := range Statuses() {
		s.PeerStatus.WithLabelValues(peer, st)
	}
}

// RemovePeer drops the peer's gauges; its counters stay.
func (s *Set) RemovePeer(peer string) {
	s.PeerStatus.DeletePartialMatch(prometheus.Labels{LabelPeer: peer})
	for _, g := range []*prometheus.GaugeVec{s.RTT, s.Availability, s.LinkWeight, s.Deadline, s.PathMTU, s.ClockOffset, s.RelayGap} {
		g.DeleteLabelValues(peer)
	}
}

// SetStatus sets the gauge of status to 1 and those of the others to 0.
func (s *Set) SetStatus(peer, status string) {
	for _, st := range Statuses() {
		v := 0.0
		if st == status {
			v = 1
		}
		s.PeerStatus.WithLabelValues(peer, st).Set(v)
	}
}

// SetRoutes sets the quality of the routes in use, by destination and next hop, and drops those that are not
// any more. It may be called by one goroutine. A scrape meanwhile sees each route that stays.
func (s *Set) SetRoutes(routes map[[2]string]float64) {
	for r, quality := range routes {
		s.RouteMetric.WithLabelValues(r[0], r[1]).Set(quality)
	}
	for r := range s.routes {
		if _, ok := routes[r]; !ok {
			s.RouteMetric.DeleteLabelValues(r[0], r[1])
		}
	}
	s.routes = routes
}

// SetIsolated sets the gauge of cause to 1 and those of the others to 0; no cause
// means that the node is not isolated.
func (s *Set) SetIsolated(cause string) { one(s.Isolated, Causes(), cause) }

// SetStoreFault sets the gauge of what is wrong with the store to 1 and the others to 0;
// empty: nothing is.
func (s *Set) SetStoreFault(kind string) { one(s.StoreFault, StorageFaults(), kind) }

// one sets the gauge of one label value to 1 and those of the others to 0.
func one(g *prometheus.GaugeVec, all []string, name string) {
	for _, n := range all {
		v := 0.0
		if n == name {
			v = 1
		}
		g.WithLabelValues(n).Set(v)
	}
}

// Native histograms: buckets at most 10 % apart, bounded in number.
const (
	nativeFactor = 1.1
	nativeMax    = 100
)

func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMax,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	reg.MustRegister(c)
	return c
}

func counters(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	reg.MustRegister(c)
	return c
}

func gauge(reg prometheus.Registerer, name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	reg.MustRegister(g)
	return g
}

func gauges(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	reg.MustRegister(g)
	return g
}

func histogram(reg prometheus.Registerer, name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(histogramOpts(name, help, buckets))
	reg.MustRegister(h)
	return h
}

func histograms(reg prometheus.Registerer, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(histogramOpts(name, help, buckets), labels)
	reg.MustRegister(h)
	return h
}

func zero(c *prometheus.CounterVec, values []string) {
	for _, v := range values {
		c.WithLabelValues(v)
	}
}
