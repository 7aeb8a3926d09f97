package main

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func selects(t *testing.T, s *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(set))
}

// admitted reports whether the policies let a packet in, as NetworkPolicy defines
// it: policies add up, and without one for the pod everything passes.
func admitted(t *testing.T, policies []*networkingv1.NetworkPolicy, fromNamespace, fromApp, toApp string, port int32, protocol corev1.Protocol) bool {
	t.Helper()
	const own = "x0tta6bl4"
	restricted := false
	for _, p := range policies {
		if !selects(t, &p.Spec.PodSelector, map[string]string{"app": toApp}) {
			continue
		}
		restricted = true
		for _, rule := range p.Spec.Ingress {
			from := slices.ContainsFunc(rule.From, func(peer networkingv1.NetworkPolicyPeer) bool {
				if peer.NamespaceSelector == nil && fromNamespace != own ||
					peer.NamespaceSelector != nil && !selects(t, peer.NamespaceSelector, map[string]string{"kubernetes.io/metadata.name": fromNamespace}) {
					return false
				}
				return peer.PodSelector == nil || selects(t, peer.PodSelector, map[string]string{"app": fromApp})
			})
			to := slices.ContainsFunc(rule.Ports, func(p networkingv1.NetworkPolicyPort) bool {
				return p.Port.IntVal == port && *p.Protocol == protocol
			})
			if from && to {
				return true
			}
		}
	}
	return !restricted
}

func TestNetworkPolicies(t *testing.T) {
	var policies []*networkingv1.NetworkPolicy
	for _, o := range objects(t) {
		if p, ok := o.(*networkingv1.NetworkPolicy); ok {
			policies = append(policies, p)
		}
	}
	const tcp, udp = corev1.ProtocolTCP, corev1.ProtocolUDP
	for _, c := range []struct {
		namespace, from, to string
		port                int32
		protocol            corev1.Protocol
		want                bool
	}{
		{"x0tta6bl4", "mesh-node", "mesh-node", 26970, udp, true},
		{"x0tta6bl4", "mesh-client", "mesh-node", 26970, udp, false},
		{"other", "mesh-node", "mesh-node", 26970, udp, false},
		{"x0tta6bl4", "mesh-client", "mesh-node", 8443, tcp, true},
		{"x0tta6bl4", "anything", "mesh-node", 8443, tcp, true},
		{"other", "mesh-client", "mesh-node", 8443, tcp, false},
		{"x0tta6bl4", "mesh-node", "mesh-ca", 8443, tcp, true},
		{"x0tta6bl4", "mesh-client", "mesh-ca", 8443, tcp, false},
		{"monitoring", "prometheus", "mesh-node", 8080, tcp, true},
		{"monitoring", "prometheus", "mesh-ca", 8080, tcp, true},
		{"monitoring", "prometheus", "mesh-client", 8080, tcp, true},
		{"monitoring", "prometheus", "mesh-node", 8443, tcp, false},
		{"other", "prometheus", "mesh-node", 8080, tcp, false},
		{"x0tta6bl4", "mesh-node", "mesh-node", 6060, tcp, false},
		{"x0tta6bl4", "mesh-node", "anything", 80, tcp, false},
	} {
		if got := admitted(t, policies, c.namespace, c.from, c.to, c.port, c.protocol); got != c.want {
			t.Errorf("%s/%s to %s, %s %d: admitted %v, want %v", c.namespace, c.from, c.to, c.protocol, c.port, got, c.want)
		}
	}
}

// TestScaling: each zone has an autoscaler that its nodes at rest do not trigger and
// one node at its limit does.
func TestScaling(t *testing.T) {
	all := objects(t)
	for _, set := range []string{"mesh-node-a", "mesh-node-b"} {
		s, ok := all["StatefulSet/"+set].(*appsv1.StatefulSet)
		h, found := all["HorizontalPodAutoscaler/"+set].(*autoscalingv2.HorizontalPodAutoscaler)
		if !ok || !found {
			t.Fatalf("no StatefulSet or HorizontalPodAutoscaler %s", set)
		}
		if ref := h.Spec.ScaleTargetRef; ref.Name != set || ref.Kind != "StatefulSet" || ref.APIVersion != "apps/v1" {
			t.Errorf("%s scales %+v", set, ref)
		}
		replicas := *s.Spec.Replicas
		if *h.Spec.MinReplicas != replicas || h.Spec.MaxReplicas != replicas+2 {
			t.Errorf("%s: %d to %d replicas, the set has %d", set, *h.Spec.MinReplicas, h.Spec.MaxReplicas, replicas)
		}
		target := h.Spec.Metrics[0].Resource.Target.AverageValue.MilliValue()
		limit := s.Spec.Template.Spec.Containers[0].Resources.Limits.Cpu().MilliValue()
		// The autoscaler ignores what is within a tenth of the target, and beside other
		// processes a node may get a sixth less than its limit.
		if average := limit * 5 / 6 / int64(replicas); target*11/10 >= average {
			t.Errorf("%s: one busy node makes an average of %dm, too little for a target of %dm", set, average, target)
		}
		if request := s.Spec.Template.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); target*2 < 3*request {
			t.Errorf("%s: a target of %dm is too close to what a node needs at rest, %dm", set, target, request)
		}
	}
}

// TestMemoryLimit: 512 MB more than a node uses is pressure, not a kill.
func TestMemoryLimit(t *testing.T) {
	const stress = 512 << 20
	for name, pod := range templates(t, objects(t)) {
		if !strings.HasPrefix(name, "StatefulSet/") {
			continue
		}
		c := pod.Spec.Containers[0]
		var soft resource.Quantity
		for _, e := range c.Env {
			if e.Name == "GOMEMLIMIT" {
				soft = resource.MustParse(strings.TrimSuffix(e.Value, "B"))
			}
		}
		if limit := c.Resources.Limits.Memory().Value(); soft.IsZero() || limit < stress+2*soft.Value() {
			t.Errorf("%s: memory limit %d, of which Go uses up to %d", name, limit, soft.Value())
		}
	}
}

// TestAccessIsLeast: this is all that anything may ask of the API server.
func TestAccessIsLeast(t *testing.T) {
	var rules []string
	for name, o := range objects(t) {
		var of []rbacv1.PolicyRule
		switch r := o.(type) {
		case *rbacv1.Role:
			of = r.Rules
		case *rbacv1.ClusterRole:
			of = r.Rules
		case *rbacv1.RoleBinding:
			rules = append(rules, name+" to "+r.Subjects[0].Name)
		case *rbacv1.ClusterRoleBinding:
			rules = append(rules, name+" to "+r.Subjects[0].Name)
		}
		for _, r := range of {
			rules = append(rules, name+": "+strings.Join(r.Verbs, ",")+" "+strings.Join(append(r.Resources, r.ResourceNames...), "/"))
		}
	}
	slices.Sort(rules)
	if want := []string{
		"ClusterRole/x0tta6bl4-mesh-ca: create tokenreviews",
		"ClusterRoleBinding/x0tta6bl4-mesh-ca to mesh-ca",
		"Role/mesh-ca: create configmaps",
		"Role/mesh-ca: get,patch secrets/mesh-api-token",
		"Role/mesh-ca: get,update configmaps/mesh-trust",
		"RoleBinding/mesh-ca to mesh-ca",
	}; !slices.Equal(rules, want) {
		t.Errorf("%s", strings.Join(rules, "\n"))
	}
}
