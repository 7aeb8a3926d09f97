package manifests

import (
	"io/fs"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestPodsAreScrapedByTheirAddress applies the rules for __address__ of the mesh's job, as
// Prometheus does (relabel_config, action replace): pods are scraped in either family.
func TestPodsAreScrapedByTheirAddress(t *testing.T) {
	b, err := fs.ReadFile(System, "prometheus/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var mounted corev1.ConfigMap
	if err := yaml.Unmarshal(b, &mounted); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Jobs []struct {
			Rules []struct {
				Sources     []string `json:"source_labels"`
				Regex       string   `json:"regex"`
				Target      string   `json:"target_label"`
				Replacement string   `json:"replacement"`
			} `json:"relabel_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(mounted.Data["prometheus.yml"]), &config); err != nil || len(config.Jobs) == 0 {
		t.Fatalf("%v: %+v", err, config)
	}
	for ip, want := range map[string]string{"10.244.1.2": "10.244.1.2:8080", "fd00:10:244:1::2": "[fd00:10:244:1::2]:8080"} {
		labels := map[string]string{"__meta_kubernetes_pod_ip": ip, "__meta_kubernetes_pod_annotation_prometheus_io_port": "8080"}
		for _, r := range config.Jobs[0].Rules {
			if r.Target != "__address__" {
				continue
			}
			var values []string
			for _, s := range r.Sources {
				values = append(values, labels[s])
			}
			all := strings.Join(values, ";")
			re := regexp.MustCompile("^(?:" + r.Regex + ")$")
			if m := re.FindStringSubmatchIndex(all); m != nil {
				labels["__address__"] = string(re.ExpandString(nil, r.Replacement, all, m))
			}
		}
		if got := labels["__address__"]; got != want {
			t.Errorf("a pod at %s is scraped at %q, want %q", ip, got, want)
		}
		if _, err := netip.ParseAddrPort(want); err != nil {
			t.Fatal(err)
		}
	}
}
