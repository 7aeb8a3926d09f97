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

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/fixtures"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/inject"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// at starts a process of the cluster in the namespace of another.
func (c *cluster) at(host, name string, args ...string) {
	c.t.Helper()
	c.procs[name] = &process{ip: c.procs[host].ip, ns: c.procs[host].ns}
	c.launch(name, nil, args...)
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
	c.at("a-0", "corruptor", "chaos", "corrupt", "--interface=eth0", "--peers="+c.procs["a-1"].ip, "--duration=15s")
	c.within(15*time.Second, "more than five bad signatures", func() error {
		if v, err := c.metric("a-1", metric.AnomaliesTotal, map[string]string{metric.LabelType: metric.VerificationFailed}); err != nil || v <= 5 {
			return fmt.Errorf("%v counted, %w", v, err)
		}
		return nil
	})
	for _, line := range c.ended("corruptor", "detached") {
		var counts corruptCounts
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

// TestFixturesFitTheBinary: every argument of the fixtures is one that the command
// takes.
func TestFixturesFitTheBinary(t *testing.T) {
	for file, argsOf := range map[string]func([]byte) ([]string, error){
		"pqc-corrupt.yaml": func(b []byte) ([]string, error) {
			var p corev1.Pod
			err := yaml.UnmarshalStrict(b, &p)
			return p.Spec.EphemeralContainers[0].Args, err
		},
		"pqc-inject.yaml": func(b []byte) ([]string, error) {
			var j batchv1.Job
			err := yaml.UnmarshalStrict(b, &j)
			return j.Spec.Template.Spec.Containers[0].Args, err
		},
	} {
		b, err := fixtures.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		args, err := argsOf(b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		// --help comes last: what precedes it is parsed first.
		var out bytes.Buffer
		if code := run(t.Context(), append(args, "--help"), &out, &out); code != 0 || !strings.Contains(out.String(), "example:") {
			t.Errorf("%s: %v: exit %d\n%s", file, args, code, out.String())
		}
	}
}

// TestCorruptorEndsWhenItIsStopped: as Kubernetes stops a container.
func TestCorruptorEndsWhenItIsStopped(t *testing.T) {
	c := newCluster(t, "a-0")
	c.at("a-0", "corruptor", "chaos", "corrupt", "--duration=10m")
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
		c.at("ca", name, append([]string{"chaos", "inject", "--name=" + name, peers, "--ca=" + c.caURL,
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
