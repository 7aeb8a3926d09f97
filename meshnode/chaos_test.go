package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos/inject"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// chaos starts meshchaos in the namespace of a process of the cluster.
func (c *cluster) chaos(host, name string, args ...string) {
	c.t.Helper()
	c.procs[name] = &process{ip: c.procs[host].ip, ns: c.procs[host].ns}
	c.launch(name, []string{asMeshchaos + "=1"}, args...)
}

// ended waits for a process that ends by itself and returns the lines that it printed about
// an event.
func (c *cluster) ended(name, about string) (lines []json.RawMessage) {
	c.t.Helper()
	p := c.procs[name]
	killer := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	if err := p.cmd.Wait(); err != nil {
		c.t.Errorf("%s did not end well: %v", name, err)
	}
	p.cmd = nil
	b, err := os.ReadFile(p.log.Name())
	if err != nil {
		c.t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var line struct {
			Event string
			Fault json.RawMessage
		}
		if json.Unmarshal(s.Bytes(), &line) == nil && line.Event == about {
			lines = append(lines, line.Fault)
		}
	}
	if len(lines) == 0 {
		c.t.Errorf("%s printed nothing about %q", name, about)
	}
	return lines
}

func (c *cluster) count(name, metricName string, want map[string]string) float64 {
	c.t.Helper()
	v, err := c.metric(name, metricName, want)
	if err != nil {
		c.t.Error(err)
	}
	return v
}

func (c *cluster) anomalies(name, typ string) float64 {
	c.t.Helper()
	return c.count(name, metric.AnomaliesTotal, map[string]string{metric.LabelType: typ})
}

// invalidated checks that a node ended sessions with the culprit only.
func (c *cluster) invalidated(name, culprit string) {
	c.t.Helper()
	if c.count(name, metric.SessionsInvalidatedTotal, nil) == 0 {
		c.t.Errorf("%s invalidated no session", name)
	}
	e, err := c.journal(name, time.Time{}, func(e event.Entry) bool {
		return e.Phase == event.Execute && e.Kind == metric.InvalidateSession && e.Subject != culprit
	})
	if err == nil {
		c.t.Errorf("%s invalidated the session of another: %+v", name, e)
	}
}

// TestCorrupt: a node's signatures are corrupted on their way to one peer. That peer
// counts, ends the session and makes new keys; nobody else does anything; and when
// the time is up the program is gone.
func TestCorrupt(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "b-0")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)
	c.chaos("a-0", "corruptor", "corrupt", "--interface=eth0", "--peers="+c.procs["a-1"].ip, "--duration=15s")
	c.within(15*time.Second, "more than five bad signatures", func() error {
		if v, err := c.metric("a-1", metric.AnomaliesTotal, map[string]string{metric.LabelType: metric.VerificationFailed}); err != nil || v <= 5 {
			return fmt.Errorf("%v counted, %w", v, err)
		}
		return nil
	})
	for _, line := range c.ended("corruptor", "detached") {
		var counts struct{ Seen, Corrupted, Failed int }
		if err := json.Unmarshal(line, &counts); err != nil || counts.Corrupted == 0 || counts.Corrupted != counts.Seen || counts.Failed != 0 {
			t.Errorf("the corruptor says %s, %v", line, err)
		}
	}
	c.invalidated("a-1", "a-0")
	c.within(10*time.Second, "well again", c.whole)
	c.within(10*time.Second, "new keys", func() error {
		v, err := c.metric("a-1", metric.HealingActionsTotal, map[string]string{metric.LabelAction: metric.RotateKeys, metric.LabelOutcome: metric.OutcomeDone})
		if err == nil && v == 0 {
			err = fmt.Errorf("none")
		}
		return err
	})
	for _, n := range []string{"a-0", "b-0"} {
		if v := c.count(n, metric.SessionsInvalidatedTotal, nil); v != 0 || c.anomalies(n, metric.VerificationFailed) != 0 {
			t.Errorf("%s invalidated %v sessions", n, v)
		}
	}
}

// TestCorruptorEndsWhenItIsStopped: as Kubernetes stops a container.
func TestCorruptorEndsWhenItIsStopped(t *testing.T) {
	c := newCluster(t, "a-0")
	c.chaos("a-0", "corruptor", "corrupt", "--duration=10m")
	c.within(10*time.Second, "attached", func() error {
		b, err := os.ReadFile(c.procs["corruptor"].log.Name())
		if err == nil && !bytes.Contains(b, []byte(`"event":"attached"`)) {
			err = fmt.Errorf("it says %q", b)
		}
		return err
	})
	c.stop("corruptor")
}

// TestInject runs the injector against real nodes with the real verifier.
func TestInject(t *testing.T) {
	c := newCluster(t, "a-0", "a-1")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)
	attack := func(name string, extra ...string) (counts []inject.Counts) {
		t.Helper()
		peers := fmt.Sprintf("--peers=a-0=%s:26970,a-1=%s:26970", c.procs["a-0"].ip, c.procs["a-1"].ip)
		c.chaos("ca", name, append([]string{"inject", "--name=" + name, peers, "--ca=" + c.caURL,
			"--token-file=" + c.write(filepath.Join(name, "token"), "token of "+name), "--trust-dir=" + filepath.Join(c.dir, "trust")}, extra...)...)
		for _, line := range c.ended(name, "injected") {
			var sent inject.Counts
			if err := json.Unmarshal(line, &sent); err != nil {
				t.Errorf("the injector says %s: %v", line, err)
			}
			counts = append(counts, sent)
		}
		if len(counts) != len(c.names) {
			t.Errorf("%d nodes were attacked", len(counts))
		}
		return counts
	}

	// Nothing of a forger without the header key gets past the kernel.
	verdict := func(name, v string) float64 {
		return c.count(name, metric.PacketsTotal, map[string]string{metric.LabelVerdict: v})
	}
	for _, sent := range attack("forger", "--forge", "--count=5") {
		if bad, none := verdict(sent.Node, "bad_tag"), verdict(sent.Node, "no_session"); bad < float64(sent.Forged/2) || none < float64(sent.Forged/2) || sent.Forged == 0 {
			t.Errorf("%s: %v bad tags, %v of no session: %+v", sent.Node, bad, none, sent)
		}
		for _, m := range []string{metric.AnomaliesTotal, metric.SessionsInvalidatedTotal, metric.AnomaliesDetected} {
			if v := c.count(sent.Node, m, nil); v != 0 {
				t.Errorf("%s: %s is %v after forged frames", sent.Node, m, v)
			}
		}
	}

	for _, sent := range attack("injector", "--count=10", "--interval=100ms") {
		failed, unknown := c.anomalies(sent.Node, metric.VerificationFailed), c.anomalies(sent.Node, metric.UnknownPubkey)
		t.Logf("%s: %+v: %v failed, %v unknown", sent.Node, sent, failed, unknown)
		if sent.Signatures != 10 || sent.UnknownKeys != 10 || failed <= 5 || failed > 10 || unknown <= 5 || unknown > 10 {
			t.Errorf("%s counted %v bad signatures and %v unknown keys of %+v", sent.Node, failed, unknown, sent)
		}
		c.invalidated(sent.Node, "injector")
		if v := c.count(sent.Node, metric.KeyRotationsTotal, map[string]string{metric.LabelReason: metric.ReasonCompromise}); v == 0 {
			t.Errorf("%s made no new keys", sent.Node)
		}
	}
	c.within(15*time.Second, "well again", c.whole)
	for _, n := range c.names {
		if v := c.count(n, metric.PeerStatus, map[string]string{metric.LabelStatus: "unreachable"}); v != 0 {
			t.Errorf("%s misses %v peers", n, v)
		}
	}
}

// TestForge: somebody off the path, who is no member, sends frames in the name of
// members. They arrive, nothing of them passes, and nobody's session comes to harm;
// not even that whose id the forger knows.
func TestForge(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "b-0")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)
	established, verdicts := map[string]float64{}, map[string]float64{}
	drops := func(name string) (sum float64) {
		for _, v := range []string{"no_session", "bad_tag", "rate_limited"} {
			sum += c.count(name, metric.PacketsTotal, map[string]string{metric.LabelVerdict: v})
		}
		return sum
	}
	for _, n := range c.names {
		established[n], verdicts[n] = c.count(n, metric.SessionsEstablishedTotal, nil), drops(n)
	}
	// The ids are seen where they are sent, as in a replay; the forger is elsewhere.
	c.chaos("a-0", "observer", "replay", "--capture=1s", "--after=1ms", "--duration=20s")
	var ids []string
	for _, line := range c.lines("observer", "captured") {
		ids = append(ids, line.Sessions...)
	}
	var peers []string
	for _, n := range c.names {
		peers = append(peers, fmt.Sprintf("%s=%s:26970", n, c.procs[n].ip))
	}
	c.chaos("ca", "forger", "forge", "--peers="+strings.Join(peers, ","), "--duration=5s", "--interval=10ms", "--sessions="+strings.Join(ids, ","))
	nodes := 0
	for _, line := range c.ended("forger", "forged") {
		var sent struct {
			Node            string
			Frames, Spoofed int
			Kinds           map[string]int
			Started, Ended  time.Time
		}
		if err := json.Unmarshal(line, &sent); err != nil {
			t.Fatalf("the forger says %s: %v", line, err)
		}
		nodes++
		if sent.Frames < 500 || sent.Spoofed < sent.Frames/2 || sent.Kinds["data"] != sent.Frames/3 || sent.Ended.Sub(sent.Started) < 4*time.Second {
			t.Errorf("the forger says %s", line)
		}
		if got := drops(sent.Node) - verdicts[sent.Node]; got < float64(sent.Frames) {
			t.Errorf("%s dropped %v of %d forged frames", sent.Node, got, sent.Frames)
		}
	}
	if nodes != len(c.names) {
		t.Errorf("%d nodes were attacked", nodes)
	}
	for _, n := range c.names {
		for _, m := range []string{metric.SessionsInvalidatedTotal, metric.AnomaliesDetected, metric.VerificationsFailed} {
			if v := c.count(n, m, nil); v != 0 {
				t.Errorf("%s: %s is %v", n, m, v)
			}
		}
		if v := c.count(n, metric.SessionsEstablishedTotal, nil); v != established[n] {
			t.Errorf("%s: %v sessions were made anew", n, v-established[n])
		}
	}
	if err := c.whole(); err != nil {
		t.Error(err)
	}
}

// replayLine is a line of meshchaos replay.
type replayLine struct {
	Event    string
	Frames   int
	Sessions []string
	To       []string
}

// lines returns what a replayer printed about an event, after its end.
func (c *cluster) lines(name, event string) (lines []replayLine) {
	c.t.Helper()
	c.ended(name, event)
	b, err := os.ReadFile(c.procs[name].log.Name())
	if err != nil {
		c.t.Fatal(err)
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var line replayLine
		if json.Unmarshal(s.Bytes(), &line) == nil && line.Event == event {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestReplay: what a node sent is recorded, its peers end their sessions with it and
// make new ones, and the frames come again. They reach the peers' verifiers, which
// drop every one.
func TestReplay(t *testing.T) {
	c := newCluster(t, "a-0", "a-1", "b-0")
	for _, n := range c.names {
		c.start(n)
	}
	c.within(20*time.Second, "every pair verified", c.whole)
	// Of two recorders, one waits for the new sessions, and one until all is quiet.
	c.chaos("a-0", "early", "replay", "--capture=2s", "--settle=500ms", "--duration=40s")
	c.chaos("a-0", "late", "replay", "--capture=2s", "--after=18s", "--duration=40s")
	for _, name := range []string{"early", "late"} {
		c.within(10*time.Second, "recorded", func() error {
			b, err := os.ReadFile(c.procs[name].log.Name())
			if err == nil && bytes.Count(b, []byte(`"captured"`)) < 2 {
				err = fmt.Errorf("%s says %q", name, b)
			}
			return err
		})
	}
	recorded := time.Now()
	c.chaos("a-0", "corruptor", "corrupt", "--duration=6s")
	for _, l := range c.lines("early", "replayed") {
		if l.Frames < 5 || len(l.Sessions) == 0 || len(l.To) != 1 {
			t.Errorf("it says %+v", l)
		}
	}
	c.ended("corruptor", "detached")
	c.within(10*time.Second, "well again", c.whole)
	dropped := func(ip string) (sum float64) {
		for _, n := range c.names {
			for _, v := range []string{"revoked", "no_session"} {
				if c.procs[n].ip == ip {
					sum += c.count(n, metric.PacketsTotal, map[string]string{metric.LabelVerdict: v})
				}
			}
		}
		return sum
	}
	before := map[string]float64{}
	for _, n := range []string{"a-1", "b-0"} {
		before[c.procs[n].ip] = dropped(c.procs[n].ip)
	}
	if time.Since(recorded) > 17*time.Second {
		t.Fatal("it took too long until all was quiet to tell whose frames were dropped")
	}
	lines := c.lines("late", "replayed")
	if len(lines) != 2 {
		t.Errorf("it says %+v", lines)
	}
	for _, l := range lines {
		if l.Frames < 5 || len(l.Sessions) == 0 || len(l.To) != 1 {
			t.Errorf("it says %+v", l)
			continue
		}
		if got := dropped(l.To[0]) - before[l.To[0]]; got != float64(l.Frames) {
			t.Errorf("%s dropped %v of %d replayed frames", l.To[0], got, l.Frames)
		}
	}
}
