package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/manifests"
)

const installPrometheus = "where namespace monitoring is yours already, make a Service prometheus with port 9090 there; only where it is not, kubectl apply -f manifests/prometheus"

// prometheus looks at the server that the criteria are read from: whether it answers, what it scrapes and how often,
// and whether it has the mesh's alerts.
func prometheus(ctx context.Context, c *Cluster) ([]Finding, error) {
	if _, err := c.Prometheus.Buildinfo(ctx); err != nil {
		return []Finding{passing(installPrometheus, "no Prometheus answers at Service monitoring/prometheus: %v", err)}, nil
	}
	answer, err := c.Prometheus.Config(ctx)
	if err != nil {
		return nil, err
	}
	all, services, err := workloads(ctx, c)
	if err != nil {
		return nil, err
	}
	found, err := scraping(answer.YAML, all, services)
	if err != nil {
		return found, err
	}
	rules, err := c.Prometheus.Rules(ctx, nil)
	if err != nil {
		return found, err
	}
	more, err := alerts(rules)
	return append(found, more...), err
}

// alerts finds which of the mesh's alerts a server does not have, or looks at too rarely.
func alerts(rules promv1.RulesResult) (found []Finding, err error) {
	needed, err := meshAlerts()
	if err != nil {
		return nil, err
	}
	every := map[string]time.Duration{} // how often the server looks
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if a, ok := r.(promv1.AlertingRule); ok {
				interval := time.Duration(g.Interval * float64(time.Second))
				if least, twice := every[a.Name]; !twice || interval < least {
					every[a.Name] = interval
				}
			}
		}
	}
	var missing, rare []string
	for _, name := range needed {
		switch interval, known := every[name]; {
		case !known:
			missing = append(missing, name)
		case interval > prom.ScrapeInterval:
			rare = append(rare, fmt.Sprintf("%s (every %v)", name, interval))
		}
	}
	if len(missing) > 0 {
		found = append(found, fatal("kubectl apply -f manifests/prometheus/rules.yaml, and name its file in the server's rule_files",
			"Prometheus does not have the alerts %s", strings.Join(missing, ", ")))
	}
	if len(rare) > 0 {
		found = append(found, fatal(fmt.Sprintf("set interval: %v for their group", model.Duration(prom.ScrapeInterval)),
			"Prometheus looks too rarely at the alerts %s: bars of seconds cannot be read", strings.Join(rare, ", ")))
	}
	return found, nil
}

// meshAlerts are the names of the mesh's alerts.
func meshAlerts() (names []string, err error) {
	b, err := fs.ReadFile(manifests.System, "prometheus/rules.yaml")
	if err != nil {
		return nil, err
	}
	var file corev1.ConfigMap
	if err := sigsyaml.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("the mesh's rules: %w", err)
	}
	for _, content := range file.Data {
		var groups struct {
			Groups []struct {
				Rules []struct {
					Alert string `yaml:"alert"`
				} `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal([]byte(content), &groups); err != nil {
			return nil, fmt.Errorf("the mesh's rules: %w", err)
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					names = append(names, r.Alert)
				}
			}
		}
	}
	return names, nil
}
