package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
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

const (
	asksForScrapes = "__meta_kubernetes_pod_annotation_prometheus_io_scrape"

	installPrometheus = "where namespace monitoring is yours already, make a Service prometheus with port 9090 there; only where it is not, kubectl apply -f manifests/prometheus"
	jobOfManifests    = "take the job `pods` of manifests/prometheus/config.yaml, and no other for the same pods"
)

// prometheus looks at the server that the criteria are read from: whether it answers, what it scrapes and how often,
// and whether it has the mesh's alerts.
func prometheus(ctx context.Context, c *Cluster) ([]Finding, error) {
	if _, err := c.Prometheus.Buildinfo(ctx); err != nil {
		return []Finding{fatal(installPrometheus, "no Prometheus answers at Service monitoring/prometheus: %v", err)}, nil
	}
	answer, err := c.Prometheus.Config(ctx)
	if err != nil {
		return nil, err
	}
	found, err := scraping(answer.YAML)
	if err != nil {
		return found, err
	}
	targets, err := c.Prometheus.Targets(ctx)
	if err != nil {
		return found, err
	}
	if len(found) == 0 {
		found = append(found, twice(targets.Active)...)
	}
	rules, err := c.Prometheus.Rules(ctx, nil)
	if err != nil {
		return found, err
	}
	missing, err := unseenAlerts(rules)
	if len(missing) > 0 {
		found = append(found, fatal("kubectl apply -f manifests/prometheus/rules.yaml, and name its file in the server's rule_files",
			"Prometheus does not have the alerts %s", strings.Join(missing, ", ")))
	}
	return found, err
}

// serverConfig is what of Prometheus' configuration says which pods are scraped.
type serverConfig struct {
	Global struct {
		Interval model.Duration `yaml:"scrape_interval"`
	} `yaml:"global"`
	Jobs []scrapeJob `yaml:"scrape_configs"`
}

type scrapeJob struct {
	Name      string         `yaml:"job_name"`
	Interval  model.Duration `yaml:"scrape_interval"`
	Discovery []struct {
		Role       string `yaml:"role"`
		Namespaces struct {
			Names []string `yaml:"names"`
		} `yaml:"namespaces"`
	} `yaml:"kubernetes_sd_configs"`
	Relabel []relabeling `yaml:"relabel_configs"`
}

type relabeling struct {
	Sources []string `yaml:"source_labels"`
	Action  string   `yaml:"action"`
	Target  string   `yaml:"target_label"`
}

// scraping finds what a configuration does otherwise than the suite needs: each pod that asks for it by its annotation
// is scraped by one job, every second, under the labels namespace and pod.
func scraping(config string) ([]Finding, error) {
	var s serverConfig
	if err := yaml.Unmarshal([]byte(config), &s); err != nil {
		return nil, fmt.Errorf("its configuration: %w", err)
	}
	every := func(j scrapeJob) time.Duration {
		switch {
		case j.Interval > 0:
			return time.Duration(j.Interval)
		case s.Global.Interval > 0:
			return time.Duration(s.Global.Interval)
		}
		return time.Minute // Prometheus' own default
	}
	jobs := slices.DeleteFunc(s.Jobs, func(j scrapeJob) bool { return !j.takesMesh() })
	if len(jobs) == 0 {
		return []Finding{fatal(jobOfManifests, "no job of Prometheus scrapes the pods that ask for it by their annotation")}, nil
	}
	var found []Finding
	if len(jobs) > 1 {
		var names []string
		for _, j := range jobs {
			names = append(names, j.Name)
		}
		found = append(found, fatal(jobOfManifests, "Prometheus scrapes pods twice, by its jobs %s: everything that is added up is too much", strings.Join(names, ", ")))
	}
	for _, j := range jobs {
		if every(j) > prom.ScrapeInterval {
			found = append(found, fatal(fmt.Sprintf("set scrape_interval: %v for it", model.Duration(prom.ScrapeInterval)),
				"Prometheus' job %s scrapes every %v: bars of seconds cannot be read", j.Name, every(j)))
		}
		for _, label := range []string{prom.LabelPod, "namespace"} {
			if !slices.ContainsFunc(j.Relabel, func(r relabeling) bool { return r.Target == label }) {
				found = append(found, fatal(jobOfManifests, "Prometheus' job %s gives pods no label %s", j.Name, label))
			}
		}
	}
	return found, nil
}

// takesMesh tells whether a job scrapes pods of any namespace by their annotation.
func (j scrapeJob) takesMesh() bool {
	everywhere, byAnnotation := false, false
	for _, d := range j.Discovery {
		everywhere = everywhere || d.Role == "pod" && len(d.Namespaces.Names) == 0
	}
	for _, r := range j.Relabel {
		byAnnotation = byAnnotation || (r.Action == "keep" || r.Action == "keepequal") && slices.Contains(r.Sources, asksForScrapes)
	}
	return everywhere && byAnnotation
}

// twice finds what is scraped by more than one target now, whatever the configuration says.
func twice(active []promv1.ActiveTarget) []Finding {
	jobs := map[string][]string{}
	for _, t := range active {
		jobs[t.ScrapeURL] = append(jobs[t.ScrapeURL], t.ScrapePool)
	}
	for _, url := range slices.Sorted(maps.Keys(jobs)) {
		if len(jobs[url]) > 1 {
			return []Finding{fatal(jobOfManifests, "Prometheus scrapes %s %d times, by its jobs %s", url, len(jobs[url]), strings.Join(jobs[url], ", "))}
		}
	}
	return nil
}

// unseenAlerts lists the mesh's alerts that a server does not have.
func unseenAlerts(rules promv1.RulesResult) ([]string, error) {
	b, err := fs.ReadFile(manifests.System, "prometheus/rules.yaml")
	if err != nil {
		return nil, err
	}
	var file corev1.ConfigMap
	if err := sigsyaml.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("the mesh's rules: %w", err)
	}
	known := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if a, ok := r.(promv1.AlertingRule); ok {
				known[a.Name] = true
			}
		}
	}
	var missing []string
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
				if r.Alert != "" && !known[r.Alert] {
					missing = append(missing, r.Alert)
				}
			}
		}
	}
	return missing, nil
}
