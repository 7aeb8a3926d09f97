package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	klabels "k8s.io/apimachinery/pkg/labels"

	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// serverConfig is what of Prometheus' configuration says which pods are scraped, and how.
type serverConfig struct {
	Global scrapeSettings `yaml:"global"`
	Jobs   []scrapeJob    `yaml:"scrape_configs"`
	Files  []string       `yaml:"scrape_config_files"` // jobs that the server does not tell
}

// scrapeSettings are for all jobs, or for one.
type scrapeSettings struct {
	Interval model.Duration `yaml:"scrape_interval"`
	Native   *bool          `yaml:"scrape_native_histograms"`
	Classic  *bool          `yaml:"always_scrape_classic_histograms"`
}

type scrapeJob struct {
	scrapeSettings `yaml:",inline"`

	Name      string            `yaml:"job_name"`
	Scheme    string            `yaml:"scheme"`
	Path      string            `yaml:"metrics_path"`
	Discovery []discovery       `yaml:"kubernetes_sd_configs"`
	Relabel   []*relabel.Config `yaml:"relabel_configs"`
}

type discovery struct {
	Role       string `yaml:"role"`
	Namespaces struct {
		Own   bool     `yaml:"own_namespace"`
		Names []string `yaml:"names"`
	} `yaml:"namespaces"`
	Selectors []struct {
		Role  string `yaml:"role"`
		Label string `yaml:"label"`
	} `yaml:"selectors"`
}

// meshPod is a pod of the mesh as the server will discover it.
type meshPod struct {
	namespace, name, address string
	pod                      corev1.PodTemplateSpec
	services                 []corev1.Service // those that select it
}

const (
	portAnnotation   = "prometheus.io/port"
	scrapeAnnotation = "prometheus.io/scrape"

	jobOfManifests = "take the job `pods` of manifests/prometheus/config.yaml, and no other for the same pods"
)

// scraping finds what a configuration does otherwise than the suite needs: each pod of the mesh that asks for it is scraped at
// its port of metrics by one job, every second, under the labels namespace and pod, with classic histograms.
func scraping(config string, all []workload, services []corev1.Service) ([]Finding, error) {
	var s serverConfig
	if err := yaml.Unmarshal([]byte(config), &s); err != nil {
		return nil, fmt.Errorf("its configuration: %w", err)
	}
	for _, j := range s.Jobs {
		for _, r := range j.Relabel { // the server has validated it; what it prints would not always be valid again
			r.NameValidationScheme = model.UTF8Validation
		}
	}
	var found []Finding
	for _, w := range all {
		if w.pod.Annotations[scrapeAnnotation] != "true" {
			continue
		}
		p := meshPod{namespace: exampleNamespace, name: "mesh-0", address: "10.0.0.1", pod: w.pod}
		for _, service := range services {
			if len(service.Spec.Selector) > 0 && klabels.SelectorFromSet(service.Spec.Selector).Matches(klabels.Set(w.pod.Labels)) {
				p.services = append(p.services, service)
			}
		}
		for _, f := range s.scrapes(p) {
			if !slices.Contains(found, f) { // mostly it is so for all of them
				found = append(found, f)
			}
		}
	}
	return found, nil
}

// scrapes judges how one pod is scraped.
func (s serverConfig) scrapes(p meshPod) (found []Finding) {
	var names []string // a job that scrapes it twice is here twice
	elsewhere := map[string]string{}
	for _, j := range s.Jobs {
		for _, t := range j.targets(p, s.every(j)) {
			if where := t.Get(model.AddressLabel); where != net.JoinHostPort(p.address, p.pod.Annotations[portAnnotation]) {
				elsewhere[j.Name] = where[strings.LastIndex(where, ":")+1:]
				continue
			}
			names = append(names, j.Name)
			found = append(found, s.judge(j, p, t)...)
		}
	}
	if len(names) > 1 {
		found = append(found, fatal(jobOfManifests, "Prometheus scrapes pods twice, by its jobs %s: everything that is added up is too much", strings.Join(names, ", ")))
	}
	for _, job := range slices.Sorted(maps.Keys(elsewhere)) {
		if len(names) == 0 {
			found = append(found, fatal(jobOfManifests, "Prometheus' job %s scrapes the mesh's pods at port %s, and not at that of their annotation, %s",
				job, elsewhere[job], p.pod.Annotations[portAnnotation]))
		} else {
			found = append(found, note(jobOfManifests, "Prometheus' job %s scrapes the mesh's pods at port %s, too, where there are no metrics", job, elsewhere[job]))
		}
	}
	switch {
	case len(names)+len(elsewhere) > 0:
	case len(s.Files) > 0:
		found = append(found, note(jobOfManifests, "no job of Prometheus scrapes the mesh's pods, unless one of %s does", strings.Join(s.Files, ", ")))
	default:
		found = append(found, fatal(jobOfManifests, "no job of Prometheus scrapes the mesh's pods, which ask for it by their annotation"))
	}
	return found
}

// judge looks at how a job scrapes a target.
func (s serverConfig) judge(j scrapeJob, p meshPod, t labels.Labels) (found []Finding) {
	every := s.every(j)
	if set, err := model.ParseDuration(t.Get(model.ScrapeIntervalLabel)); err == nil { // relabelling may change it
		every = time.Duration(set)
	}
	if every > prom.ScrapeInterval {
		found = append(found, fatal(fmt.Sprintf("set scrape_interval: %v for it", model.Duration(prom.ScrapeInterval)),
			"Prometheus' job %s scrapes every %v: bars of seconds cannot be read", j.Name, every))
	}
	if scheme, path := t.Get(model.SchemeLabel), t.Get(model.MetricsPathLabel); scheme != "http" || path != "/metrics" {
		found = append(found, fatal(jobOfManifests, "Prometheus' job %s scrapes the mesh's pods at %s:…%s, and not at http:…/metrics", j.Name, scheme, path))
	}
	for _, l := range [][2]string{{"namespace", p.namespace}, {prom.LabelPod, p.name}} {
		if t.Get(l[0]) != l[1] {
			found = append(found, fatal(jobOfManifests, "Prometheus' job %s gives pods no label %s with their own", j.Name, l[0]))
		}
	}
	is := func(of, global *bool) bool { return of != nil && *of || of == nil && global != nil && *global }
	if is(j.Native, s.Global.Native) && !is(j.Classic, s.Global.Classic) {
		found = append(found, fatal("set always_scrape_classic_histograms: true for it",
			"Prometheus' job %s takes native histograms and leaves out the classic ones, of which the criteria read the buckets", j.Name))
	}
	return found
}

// every is how often a job scrapes, if relabelling does not change it.
func (s serverConfig) every(j scrapeJob) time.Duration {
	return time.Duration(cmp.Or(j.Interval, s.Global.Interval, model.Duration(time.Minute))) // the last is Prometheus' own default
}

// targets are the labels under which a job that scrapes so often scrapes a pod, once for each target.
func (j scrapeJob) targets(p meshPod, every time.Duration) []labels.Labels {
	distinct := map[string]labels.Labels{}
	for _, d := range j.Discovery {
		if d.Namespaces.Own || len(d.Namespaces.Names) > 0 || !d.selects(p) {
			continue
		}
		for _, found := range p.discovered(d.Role) {
			b := labels.NewBuilder(labels.FromMap(found))
			for name, value := range map[string]string{
				model.JobLabel: j.Name, model.SchemeLabel: cmp.Or(j.Scheme, "http"), model.MetricsPathLabel: cmp.Or(j.Path, "/metrics"),
				model.ScrapeIntervalLabel: model.Duration(every).String(),
			} {
				b.Set(name, value)
			}
			if !relabel.ProcessBuilder(b, j.Relabel...) {
				continue
			}
			b.Range(func(l labels.Label) {
				if strings.HasPrefix(l.Name, model.MetaLabelPrefix) {
					b.Del(l.Name)
				}
			})
			t := b.Labels()
			distinct[t.String()] = t
		}
	}
	var all []labels.Labels
	for _, key := range slices.Sorted(maps.Keys(distinct)) {
		all = append(all, distinct[key])
	}
	return all
}

// selects tells whether a discovery asks the API server for the pod at all.
func (d discovery) selects(p meshPod) bool {
	for _, s := range d.Selectors {
		if l, err := klabels.Parse(s.Label); s.Role == "pod" && err == nil && !l.Matches(klabels.Set(p.pod.Labels)) {
			return false
		}
	}
	return true
}

// discovered are the labels of each target that Prometheus' service discovery makes of a pod in a role
// (Prometheus' documentation, kubernetes_sd_config): one for each port that is declared.
func (p meshPod) discovered(role string) (all []map[string]string) {
	const meta = model.MetaLabelPrefix + "kubernetes_"
	of := func(what string, labels, annotations map[string]string) map[string]string {
		l := map[string]string{}
		for kind, values := range map[string]map[string]string{"label": labels, "annotation": annotations} {
			for name, value := range values {
				name = sanitized(name)
				l[meta+what+"_"+kind+"_"+name], l[meta+what+"_"+kind+"present_"+name] = value, "true"
			}
		}
		return l
	}
	pod := of("pod", p.pod.Labels, p.pod.Annotations)
	maps.Copy(pod, map[string]string{
		meta + "namespace": p.namespace, meta + "pod_name": p.name, meta + "pod_ip": p.address,
		meta + "pod_ready": "true", meta + "pod_phase": string(corev1.PodRunning),
		meta + "pod_node_name": "machine", meta + "pod_host_ip": "192.0.2.1", meta + "pod_uid": "00000000-0000-4000-8000-000000000000",
		meta + "pod_controller_kind": "StatefulSet", meta + "pod_controller_name": "mesh",
	})
	for _, c := range p.pod.Spec.Containers {
		for _, port := range c.Ports {
			l := maps.Clone(pod)
			number := fmt.Sprint(port.ContainerPort)
			maps.Copy(l, map[string]string{
				model.AddressLabel:          net.JoinHostPort(p.address, number),
				meta + "pod_container_init": "false", meta + "pod_container_name": c.Name, meta + "pod_container_image": c.Image,
				meta + "pod_container_port_name": port.Name, meta + "pod_container_port_number": number,
				meta + "pod_container_port_protocol": string(cmp.Or(port.Protocol, corev1.ProtocolTCP)),
			})
			switch role {
			case "pod":
				all = append(all, l)
			case "endpoints", "endpointslice":
				for _, s := range p.services {
					e := maps.Clone(l)
					maps.Copy(e, of("service", s.Labels, s.Annotations))
					maps.Copy(e, map[string]string{
						meta + "service_name": s.Name, meta + role + "_name": s.Name,
					})
					for _, of := range s.Spec.Ports { // of the pod's other ports the API server says nothing
						if of.Port == port.ContainerPort || of.TargetPort.IntVal == port.ContainerPort || of.TargetPort.StrVal == port.Name {
							maps.Copy(e, map[string]string{
								meta + "endpointslice_port_name": of.Name, meta + "endpoint_port_name": of.Name,
								meta + role + "_address_target_kind": "Pod", meta + role + "_address_target_name": p.name,
							})
						}
					}
					all = append(all, e)
				}
			}
		}
	}
	return all
}

// sanitized is a name as Prometheus writes it in a label's.
func sanitized(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}
