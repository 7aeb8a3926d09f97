package main

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestRootKeyIsInOnePodOnly: one pod runs the authority, its key lives in memory
// that it shares with no one, a second authority never runs beside it, and no
// one may read secrets, but the authority the one that it fills.
func TestRootKeyIsInOnePodOnly(t *testing.T) {
	all := objects(t)
	ca, ok := all["Deployment/mesh-ca"].(*appsv1.Deployment)
	if !ok {
		t.Fatal("no Deployment mesh-ca")
	}
	if ca.Spec.Replicas == nil || *ca.Spec.Replicas != 1 || ca.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("two authorities could run: replicas %v, strategy %q", ca.Spec.Replicas, ca.Spec.Strategy.Type)
	}
	for name, pod := range templates(t, all) {
		for _, c := range append(pod.Spec.Containers, pod.Spec.InitContainers...) {
			if runs := len(c.Args) > 0 && c.Args[0] == "ca"; runs != (name == "Deployment/mesh-ca") {
				t.Errorf("%s runs %v", name, c.Args)
			}
		}
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim != nil || v.HostPath != nil {
				t.Errorf("%s: volume %s outlives the pod or is shared", name, v.Name)
			}
			if name == "Deployment/mesh-ca" && v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory {
				t.Errorf("%s: volume %s would put the key on a disk", name, v.Name)
			}
		}
	}
	filled := false
	for name, o := range all {
		var rules []rbacv1.PolicyRule
		switch r := o.(type) {
		case *rbacv1.Role:
			rules = r.Rules
		case *rbacv1.ClusterRole:
			rules = r.Rules
		}
		for _, rule := range rules {
			if name == "Role/mesh-ca" && slices.Equal(rule.Resources, []string{"secrets"}) && slices.Equal(rule.ResourceNames, []string{"mesh-api-token"}) &&
				slices.Equal(rule.Verbs, []string{"get", "patch"}) {
				filled = true
				continue
			}
			for _, resource := range append(rule.Resources, rule.Verbs...) {
				if resource == "secrets" || resource == "*" || strings.HasPrefix(resource, "pods/exec") {
					t.Errorf("%s allows %s", name, resource)
				}
			}
		}
	}
	if s, ok := all["Secret/mesh-api-token"].(*corev1.Secret); !filled || !ok || len(s.Data)+len(s.StringData) > 0 {
		t.Errorf("Secret mesh-api-token: there and empty %v, may be filled %v", ok, filled)
	}
}
