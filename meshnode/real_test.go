package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// request asks a node's client API and returns status and body.
func (c *cluster) request(method, name, path, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, fmt.Sprintf("https://%s:%d%s", c.procs[name].ip, api.Port, path), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiToken)
	return c.send(req)
}

func (c *cluster) send(req *http.Request) (code int, body []byte, err error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// metric returns the sum of a metric's series whose labels contain want.
func (c *cluster) metric(name, metric string, want map[string]string) (float64, error) {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d/metrics", c.procs[name].ip, api.MetricsPort), nil)
	if err != nil {
		return 0, err
	}
	code, body, err := c.send(req)
	if err != nil || code != http.StatusOK {
		return 0, fmt.Errorf("%s: metrics: %d %w", name, code, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	f := families[metric]
	if f == nil {
		return 0, fmt.Errorf("%s has no metric %s", name, metric)
	}
	sum := 0.0
	for _, m := range f.GetMetric() { // all of them if nothing is wanted
		found := 0
		for _, l := range m.GetLabel() {
			if want[l.GetName()] == l.GetValue() {
				found++
			}
		}
		if found == len(want) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum, nil
}

// within polls check until it is nil; a poll costs what a request costs.
func (c *cluster) within(limit time.Duration, what string, check func() error) time.Duration {
	c.t.Helper()
	start := time.Now()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			c.t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-ticker.C
	}
}

func (c *cluster) each(check func(name string) error) error {
	for _, n := range c.names {
		if err := check(n); err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}

func (c *cluster) whole() error {
	return c.each(func(name string) error {
		got, err := c.metric(name, metric.Sessions, map[string]string{metric.LabelState: metric.StateVerified})
		if err == nil && int(got) != len(c.names)-1 {
			err = fmt.Errorf("%v sessions verified", got)
		}
		return err
	})
}

// journal returns the first entry of a node after a time that matches.
func (c *cluster) journal(name string, after time.Time, match func(event.Entry) bool) (event.Entry, error) {
	code, body, err := c.request(http.MethodGet, name, api.EventsPath, "")
	if err != nil || code != http.StatusOK {
		return event.Entry{}, fmt.Errorf("events: %d %w", code, err)
	}
	entries, err := event.Read(bytes.NewReader(body))
	if err != nil {
		return event.Entry{}, err
	}
	for _, e := range entries {
		if e.Time.After(after) && match(e) {
			return e, nil
		}
	}
	return event.Entry{}, errors.New("no such entry")
}

// link sets the bridge's end of the links of some nodes up or down.
func (c *cluster) link(state string, names ...string) {
	for _, n := range names {
		c.ip("-n", c.hub, "link", "set", c.procs[n].port, state)
	}
}

// TestRealNodes runs scenario 1 in miniature: five processes with the real
// verifier in network namespaces, zone b cut off and joined again.
func TestRealNodes(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "a-2", "b-0", "b-1")
	for _, n := range c.names {
		c.start(n)
	}
	took := c.within(20*time.Second, "every pair verified", c.whole)
	t.Logf("whole %v after the start", took.Round(time.Millisecond))

	// A second of traffic before the fault; every node accepts and spreads.
	for i, n := range c.names {
		c.put(n, fmt.Sprintf("before-%d", i), 2)
	}
	c.rest(t)

	for _, n := range c.names {
		if v, err := c.metric(n, metric.AnomaliesDetected, nil); err != nil || v != 0 {
			t.Errorf("%s: %v incidents before any fault, %v", n, v, err)
		}
	}

	b := []string{"b-0", "b-1"}
	cut := time.Now()
	c.link("down", b...)
	c.within(4*time.Second, "a partition on every node of zone a", func() error {
		for _, n := range c.names[:3] {
			if v, err := c.metric(n, metric.AnomaliesDetected, map[string]string{metric.LabelType: metric.NetworkPartition}); err != nil || v != 1 {
				return fmt.Errorf("%s: %v %w", n, v, err)
			}
		}
		return nil
	})
	c.put("a-0", "during", 2)
	<-time.After(time.Until(cut.Add(6 * time.Second))) // the fault's own duration
	heal := time.Now()
	c.link("up", b...)
	c.within(5*time.Second, "every pair verified again", c.whole)
	c.within(5*time.Second, "records everywhere", func() error {
		return c.each(func(n string) error {
			code, body, err := c.request(http.MethodGet, n, api.RecordsPath+"/during", "")
			if err != nil || code != http.StatusOK || string(body) != "body of during" {
				return fmt.Errorf("%d %q %w", code, body, err)
			}
			return nil
		})
	})
	for _, n := range c.names {
		e, err := c.journal(n, cut, func(e event.Entry) bool {
			return e.Phase == event.Analyze && e.Kind == metric.NetworkPartition
		})
		if err != nil {
			t.Errorf("%s: partition in the journal: %v", n, err)
			continue
		}
		if d := e.Time.Sub(cut); d > 2*time.Second {
			t.Errorf("%s recognised the partition %v after the cut", n, d)
		} else {
			t.Logf("%s recognised the partition %v after the cut", n, d.Round(time.Millisecond))
		}
		for _, peer := range c.names {
			if peer == n || peer[0] == n[0] && n[0] == 'a' {
				continue
			}
			e, err := c.journal(n, heal, func(e event.Entry) bool { return e.Kind == event.SessionVerified && e.Subject == peer })
			if err != nil {
				t.Errorf("%s: %s verified in the journal: %v", n, peer, err)
			} else if d := e.Time.Sub(heal); d > 3*time.Second {
				t.Errorf("%s verified %s %v after the heal", n, peer, d)
			}
		}
		if v, err := c.metric(n, metric.PacketsTotal, map[string]string{metric.LabelVerdict: "pass"}); err != nil || v == 0 {
			t.Errorf("%s: packets that the verifier passed: %v %v", n, v, err)
		}
	}
	out := c.command("status", "--url=https://10.99.0.1:8443", "--name=a-0", "--api-token-file="+filepath.Join(c.dir, "api-token"), "--trust-dir="+filepath.Join(c.dir, "trust"))
	for _, want := range []string{"a-0", "b-1", "verified", "network_partition", "tcx"} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not show %q", want)
		}
	}
	t.Logf("\n%s", out)
}

// command runs a subcommand in the hub and returns what it printed.
func (c *cluster) command(args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "ip", append([]string{"netns", "exec", c.hub, os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), asMeshnode+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Errorf("meshnode %s: %v", args[0], err)
	}
	return string(out)
}

func (c *cluster) put(node, id string, holders int) {
	c.t.Helper()
	code, body, err := c.request(http.MethodPut, node, api.RecordsPath+"/"+id, "body of "+id)
	var r api.Record
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil || code != http.StatusCreated || len(r.Holders) < holders {
		c.t.Errorf("PUT %s at %s: %d %s %v", id, node, code, body, err)
	}
}

// rest measures what the nodes cost at rest, for MESH_TEST_REST (a duration).
func (c *cluster) rest(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("MESH_TEST_REST"))
	if err != nil {
		return
	}
	<-time.After(3 * time.Second) // for the routes of the start to settle
	before, routes := map[string]float64{}, map[string]float64{}
	for _, n := range c.names {
		before[n] = c.cpu(n)
		if routes[n], err = c.metric(n, metric.RoutesRecalculated, nil); err != nil {
			t.Error(err)
		}
	}
	<-time.After(d)
	for _, n := range c.names {
		rss, err := c.metric(n, "process_resident_memory_bytes", nil)
		if err != nil {
			t.Error(err)
		}
		timeouts, err := c.metric(n, metric.VerificationTimeouts, nil)
		if err != nil {
			t.Error(err)
		}
		if got, err := c.metric(n, metric.RoutesRecalculated, nil); err != nil || got != routes[n] {
			t.Errorf("%s: routes recalculated at rest: %v, before %v, %v", n, got, routes[n], err)
		}
		t.Logf("%s at rest: %.1f %% of a core, %.0f MiB resident, %v timeouts", n, (c.cpu(n)-before[n])/d.Seconds()*100, rss/(1<<20), timeouts)
	}
}

// cpu is the processor time that a node's process used, in seconds.
func (c *cluster) cpu(name string) float64 {
	c.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.procs[name].cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	const user, system, hertz = 11, 12, 100
	ticks := 0.0
	for _, i := range []int{user, system} {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			c.t.Fatal(err)
		}
		ticks += v
	}
	return ticks / hertz
}
