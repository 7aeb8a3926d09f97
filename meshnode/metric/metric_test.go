package metric_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func gathered(t *testing.T, reg *prometheus.Registry) map[string]map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]float64{}
	for _, f := range families {
		series := map[string]float64{}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			series[strings.Join(labels, ",")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		all[f.GetName()] = series
	}
	return all
}

// TestRoutesInUseAloneAreTold: a route goes when it is not in use any more, and one that stays is never away.
func TestRoutesInUseAloneAreTold(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := metric.New(reg)
	for _, routes := range []map[[2]string]float64{
		{{"b", "b"}: 255, {"c", "b"}: 100}, {{"b", "c"}: 90, {"c", "b"}: 80}, {},
	} {
		s.SetRoutes(routes)
		want := map[string]float64{}
		for r, quality := range routes {
			want["destination="+r[0]+",next_hop="+r[1]] = quality
		}
		if got := gathered(t, reg)[metric.RouteMetric]; !maps.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
	}
}

// TestContract: what criteria and alerts read exists at 0 before anything
// happened.
func TestContract(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := metric.New(reg)
	metric.RegisterVerifier(reg, &verifier{fail: true})
	s.AddPeer("b")
	all := gathered(t, reg)
	for name, series := range map[string][]string{
		"x0tta6bl4_pqc_verifications_total":         {"priority=critical,result=success", "priority=low,result=failed"},
		"x0tta6bl4_pqc_verifications_failed":        {""},
		"x0tta6bl4_pqc_anomalies_total":             {"type=verification_failed", "type=high_failure_rate", "type=unknown_pubkey", "type=replay_attack", "type=session_expired"},
		"x0tta6bl4_pqc_verification_timeouts_total": {""},
		"x0tta6bl4_pqc_verifications_shed_total":    {"priority=low"},
		"x0tta6bl4_pqc_sessions":                    {"state=handshaking", "state=verified", "state=revoked"},
		"x0tta6bl4_pqc_sessions_invalidated_total":  {"reason=verification_failed"},
		"x0tta6bl4_pqc_sessions_established_total":  {"reason=connect"},
		"x0tta6bl4_pqc_key_rotations_total":         {"reason=compromise"},
		"x0tta6bl4_ebpf_packets_total": {
			"verdict=pass", "verdict=not_mesh", "verdict=malformed", "verdict=no_session", "verdict=expired",
			"verdict=revoked", "verdict=bad_tag", "verdict=replay", "verdict=rate_limited",
		},
		"x0tta6bl4_ebpf_malformed_packets_total":        {"rule=fragment", "rule=length", "rule=header", "rule=hidden"},
		"x0tta6bl4_mesh_path_mtu_bytes":                 {"peer=b"},
		"x0tta6bl4_mesh_isolated":                       {"cause=mtu", "cause=no_session", "cause=rate_limited", "cause=refused", "cause=unanswered", "cause=silence", "cause=unknown"},
		"x0tta6bl4_ebpf_ringbuf_lost_total":             {""},
		"x0tta6bl4_mesh_peer_unreachable":               {"peer=b"},
		"x0tta6bl4_mesh_peer_status":                    {"peer=b,status=reachable", "peer=b,status=suspect", "peer=b,status=unreachable"},
		"x0tta6bl4_mesh_routes_recalculated":            {""},
		"x0tta6bl4_mesh_frames_relayed_total":           {""},
		"x0tta6bl4_mesh_frames_received_by_relay_total": {"peer=b"},
		"x0tta6bl4_mesh_relay_refused_total":            {"reason=tampered", "reason=replay", "reason=hop_limit"},
		"x0tta6bl4_mesh_records":                        {""},
		"x0tta6bl4_mesh_sessions_homed":                 {""},
		"x0tta6bl4_mesh_records_replicated_total":       {""},
		"x0tta6bl4_mesh_scale_requests_total":           {""},
		"x0tta6bl4_mapek_anomalies_detected":            {"type=network_partition", "type=node_crash", "type=link_failure", "type=latency_slo", "type=resource_exhaustion", "type=verification_failed", "type=high_failure_rate"},
		"x0tta6bl4_mapek_healing_actions_total":         {"action=reverify_sessions,outcome=done", "action=activate_backup_routes,outcome=failed"},
		"x0tta6bl4_mapek_phase_duration_seconds":        {"phase=monitor", "phase=analyze", "phase=plan", "phase=execute", "phase=knowledge"},
		"x0tta6bl4_mesh_sessions_migrated_total":        {""},
		"x0tta6bl4_pqc_verification_deadline_seconds":   {"peer=b"},
		"x0tta6bl4_mapek_incidents_open":                {"type=network_partition", "type=node_crash", "type=link_failure", "type=latency_slo", "type=resource_exhaustion", "type=verification_failed", "type=high_failure_rate"},
		"x0tta6bl4_node_cpu_ratio":                      {""},
		"x0tta6bl4_node_memory_ratio":                   {""},
		"x0tta6bl4_node_throttled_ratio":                {""},
		"x0tta6bl4_node_verification_queue_seconds":     {""},
		"x0tta6bl4_node_loop_lag_seconds":               {""},
	} {
		for _, want := range series {
			if v, ok := all[name][want]; !ok || v != 0 {
				t.Errorf("%s{%s}: %v, %v; want 0", name, want, v, ok)
			}
		}
	}
	// Nothing is known against a peer at first.
	for _, name := range []string{"x0tta6bl4_mesh_peer_availability_ratio", "x0tta6bl4_mesh_link_weight"} {
		if v, ok := all[name]["peer=b"]; !ok || v != 1 {
			t.Errorf("%s{peer=b}: %v, %v; want 1", name, v, ok)
		}
	}
}

func TestLint(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := metric.New(reg)
	metric.RegisterVerifier(reg, &verifier{})
	s.AddPeer("b")
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, p := range problems {
		if slices.Contains(metric.Exceptions(), p.Metric) {
			used[p.Metric] = true
		} else {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, name := range metric.Exceptions() {
		if !used[name] {
			t.Errorf("%s is listed as an exception and is none", name)
		}
	}
}

func TestStatusIsExclusive(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := metric.New(reg)
	s.AddPeer("b")
	s.SetStatus("b", metric.StatusSuspect)
	s.SetStatus("b", metric.StatusUnreachable)
	for status, want := range map[string]float64{metric.StatusReachable: 0, metric.StatusSuspect: 0, metric.StatusUnreachable: 1} {
		if got := testutil.ToFloat64(s.PeerStatus.WithLabelValues("b", status)); got != want {
			t.Errorf("status %s is %v, want %v", status, got, want)
		}
	}
	s.RemovePeer("b")
	for _, g := range []prometheus.Collector{s.PeerStatus, s.Availability, s.LinkWeight, s.Deadline, s.PathMTU} {
		if n := testutil.CollectAndCount(g); n != 0 {
			t.Errorf("%d series of a removed peer", n)
		}
	}
}

type verifier struct{ fail bool }

func (v *verifier) Counters() (map[string]uint64, error) {
	if v.fail {
		return nil, errors.New("map is gone")
	}
	return map[string]uint64{"pass": 7}, nil
}

func (v *verifier) Malformed() (map[string]uint64, error) {
	if v.fail {
		return nil, errors.New("map is gone")
	}
	return map[string]uint64{"fragment": 5}, nil
}

func (v *verifier) Lost() (uint64, error) {
	if v.fail {
		return 0, errors.New("map is gone")
	}
	return 3, nil
}

func TestVerifierCountersOutliveErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	v := &verifier{fail: true}
	metric.RegisterVerifier(reg, v)
	if got := gathered(t, reg)[metric.PacketsTotal]["verdict=pass"]; got != 0 {
		t.Errorf("pass %v before the first reading", got)
	}
	v.fail = false
	if got := gathered(t, reg)[metric.PacketsTotal]["verdict=pass"]; got != 7 {
		t.Errorf("pass %v, want 7", got)
	}
	v.fail = true
	all := gathered(t, reg)
	if all[metric.MalformedTotal]["rule=fragment"] != 5 || len(all[metric.MalformedTotal]) != len(metric.Rules()) {
		t.Errorf("malformed after an error: %v", all[metric.MalformedTotal])
	}
	if all[metric.PacketsTotal]["verdict=pass"] != 7 || len(all[metric.PacketsTotal]) != len(metric.Verdicts()) || all[metric.RingbufLostTotal][""] != 3 {
		t.Errorf("after an error: %v", all)
	}
}
