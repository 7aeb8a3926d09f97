package alert

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/ground/image"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/manifests"
)

const (
	project   = "../../.."
	rulesFile = "rules.yml"
	tests     = "rules_test.yaml"
)

// mounted returns the files that the manifests put beside each other into
// Prometheus' pod.
func mounted(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, name := range []string{"config.yaml", "rules.yaml"} {
		b, err := fs.ReadFile(manifests.System, "prometheus/"+name)
		if err != nil {
			t.Fatal(err)
		}
		var c corev1.ConfigMap
		if err := yaml.UnmarshalStrict(b, &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for key, text := range c.Data {
			files[key] = text
		}
	}
	return files
}

// tool is a promtool and the directory in which it finds the files.
type tool struct{ path, dir string }

func newTool(t *testing.T) tool {
	t.Helper()
	path, err := image.Promtool(t.Context(), project, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return tool{path: path}
}

// with returns the tool over a directory with these files and the rules' tests.
func (p tool) with(t *testing.T, files map[string]string) tool {
	t.Helper()
	p.dir = t.TempDir()
	b, err := os.ReadFile(filepath.Join("testdata", tests))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, tests), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p tool) run(t *testing.T, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, args...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("promtool %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// TestRules runs the checks and the unit tests of the rules, and then sees that
// every change of a rule that matters is found by them.
func TestRules(t *testing.T) {
	promtool, files := newTool(t), mounted(t)
	whole := promtool.with(t, files)
	for _, args := range [][]string{
		{"check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"},
		{"check", "rules", "--lint=all", "--lint-fatal", rulesFile},
		{"test", "rules", tests},
	} {
		if err := whole.run(t, args...); err != nil {
			t.Fatal(err)
		}
	}

	for name, change := range map[string][2]string{
		"a lower rate":                       {"> 0.1", "> 0.09"},
		"a higher rate":                      {"> 0.1", "> 0.11"},
		"a rate over less":                   {"[1m]", "[50s]"},
		"other anomalies":                    {`{type="verification_failed"}`, ""},
		"the rate of all nodes together":     {"rate(x0tta6bl4_pqc_anomalies_total{", "sum without (pod) (rate(x0tta6bl4_pqc_anomalies_total{"},
		"a spike at once":                    {"for: 30s", "for: 0s"},
		"a spike later":                      {"for: 30s", "for: 31s"},
		"a spike's severity":                 {"severity: critical", "severity: warning"},
		"suspects":                           {`status="unreachable"`, `status=~"unreachable|suspect"`},
		"peers that are reachable":           {`status="unreachable"`, `status="reachable"`},
		"no peer at all":                     {"status{status=\"unreachable\"} > 0", "status{status=\"unreachable\"} > 1"},
		"a peer at once":                     {"for: 10s", "for: 9s"},
		"a peer later":                       {"for: 10s", "for: 11s"},
		"a peer's summary":                   {"Mesh peer unreachable", "Mesh peer lost"},
		"only rotations that failed":         {"actions_total[5m]", `actions_total{outcome="failed"}[5m]`},
		"a shorter look back":                {"[5m]", "[290s]"},
		"a longer look back":                 {"[5m]", "[310s]"},
		"a fall instead of a rise":           {"increase(", "-delta("},
		"a healing alert that has to last":   {"[5m]) > 0\n", "[5m]) > 0\n        for: 1s\n"},
		"a healing alert that is never sent": {"[5m]) > 0\n", "[5m]) > 1\n"},
		"other incidents than of a disk":     {`{type="storage_fault"}`, ""},
		"no incident of a disk at all":       {`{type="storage_fault"} > 0`, `{type="storage_fault"} > 1`},
		"a disk at once":                     {"> 0\n        for: 5s\n        labels:\n          severity: critical", "> 0\n        for: 4s\n        labels:\n          severity: critical"},
		"a disk later":                       {"> 0\n        for: 5s\n        labels:\n          severity: critical", "> 0\n        for: 6s\n        labels:\n          severity: critical"},
		"other incidents than of a clock":    {`{type="clock_skew"}`, ""},
		"no incident of a clock at all":      {`{type="clock_skew"} > 0`, `{type="clock_skew"} > 1`},
		"a clock at once":                    {"> 0\n        for: 5s\n        labels:\n          severity: warning", "> 0\n        for: 4s\n        labels:\n          severity: warning"},
		"a clock later":                      {"> 0\n        for: 5s\n        labels:\n          severity: warning", "> 0\n        for: 6s\n        labels:\n          severity: warning"},
	} {
		changed := map[string]string{rulesFile: strings.Replace(files[rulesFile], change[0], change[1], 1)}
		if name == "the rate of all nodes together" {
			changed[rulesFile] = strings.Replace(changed[rulesFile], "[1m])", "[1m]))", 1)
		}
		if changed[rulesFile] == files[rulesFile] {
			t.Errorf("%s: there is no %q to change", name, change[0])
			continue
		}
		p := promtool.with(t, changed)
		if err := p.run(t, "check", "rules", rulesFile); err != nil {
			t.Errorf("%s: not a change that can be tested: %v", name, err)
		} else if err := p.run(t, "test", "rules", tests); err == nil {
			t.Errorf("%s: the rules' tests do not notice", name)
		}
	}
}

// expressions are those of the rules in the manifests, by alert.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(mounted(t)[rulesFile]), &rules); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			found[r.Alert] = r.Expr
		}
	}
	return found
}

// TestRulesLookBack: how long an alert about what happened goes on is in its rule.
func TestRulesLookBack(t *testing.T) {
	all := expressions(t)
	for name, want := range map[string]time.Duration{HealingTriggered: 5 * time.Minute, VerificationFailureSpike: time.Minute} {
		if got, err := looksBack(all[name]); err != nil || got != want {
			t.Errorf("%s looks back %v: %v, want %v", name, got, err, want)
		}
	}
	for _, expr := range []string{all[NodeUnreachable], "rate(a[1m]) > rate(b[5m])", "a[x]", ""} {
		if got, err := looksBack(expr); err == nil {
			t.Errorf("%q looks back %v", expr, got)
		}
	}
}

// TestRulesRead ties what Silent looks for to what the rules read.
func TestRulesRead(t *testing.T) {
	all := expressions(t)
	for name, expr := range all {
		s, ok := reads[name]
		// The selector without the namespace, which only the suite adds.
		selector := strings.Replace(prom.Selector(s.metric, "", s.labels), `namespace="",`, "", 1)
		selector = strings.Replace(selector, `{namespace=""}`, "", 1)
		if !ok || !strings.Contains(expr, selector) {
			t.Errorf("%s reads %s, not %s", name, expr, selector)
		}
	}
	for name := range reads {
		if _, ok := all[name]; !ok {
			t.Errorf("there is no rule %s", name)
		}
	}
}
