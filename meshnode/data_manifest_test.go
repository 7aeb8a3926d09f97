package main

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// volumeRoom is how much of a volume is left above the store's quota: for the records of other nodes, the growth of the file
// and the journal's two files.
const volumeRoom = 64 << 20

// unkept says why a node's next pod would not find all that the one before it has written; nothing if it would.
func unkept(s *appsv1.StatefulSet) string {
	pod := s.Spec.Template.Spec
	node := pod.Containers[0]
	dir := ""
	for _, a := range node.Args {
		if d, ok := strings.CutPrefix(a, "--data-dir="); ok {
			dir = d
		}
	}
	mount := slices.IndexFunc(node.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == dir && !m.ReadOnly && m.SubPath == "" })
	if dir == "" || mount < 0 {
		return "no volume is mounted at its --data-dir"
	}
	name := node.VolumeMounts[mount].Name
	claim := slices.IndexFunc(s.Spec.VolumeClaimTemplates, func(c corev1.PersistentVolumeClaim) bool { return c.Name == name })
	if claim < 0 {
		return "the volume at its --data-dir goes with the pod"
	}
	if slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == name }) {
		return "the pod names another volume for its claim"
	}
	c := s.Spec.VolumeClaimTemplates[claim].Spec
	if !slices.Equal(c.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}) {
		return "a pod elsewhere could have the volume, too"
	}
	if c.StorageClassName != nil {
		return "it needs a class that a cluster may not have"
	}
	kept := s.Spec.PersistentVolumeClaimRetentionPolicy
	switch {
	case kept == nil || kept.WhenScaled != appsv1.RetainPersistentVolumeClaimRetentionPolicyType:
		return "what is scaled away loses its data"
	case kept.WhenDeleted != appsv1.DeletePersistentVolumeClaimRetentionPolicyType:
		return "a mesh that is deleted leaves its data"
	case pod.SecurityContext.FSGroup != nil:
		return "a group is let into its files"
	}
	var quota resource.Quantity
	for _, e := range node.Env {
		if e.Name == "MESH_STORE_QUOTA" {
			quota = resource.MustParse(e.Value)
		}
	}
	if size := c.Resources.Requests[corev1.ResourceStorage]; quota.IsZero() || size.Value() < quota.Value()+volumeRoom {
		return "the volume is too small for its quota"
	}
	return ""
}

// TestANodesDataOutlivesItsPod: it is in a volume of its own, which the pod of the same name gets, and goes with the mesh.
func TestANodesDataOutlivesItsPod(t *testing.T) {
	all := objects(t)
	for _, name := range []string{"mesh-node-a", "mesh-node-b"} {
		set, ok := all["StatefulSet/"+name].(*appsv1.StatefulSet)
		if !ok {
			t.Fatalf("no StatefulSet %s", name)
		}
		if why := unkept(set); why != "" {
			t.Errorf("%s: %s", name, why)
		}
		for why, spoil := range map[string]func(*appsv1.StatefulSet){
			"goes with the pod": func(s *appsv1.StatefulSet) {
				s.Spec.VolumeClaimTemplates = nil
				s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes,
					corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
			},
			"names another volume": func(s *appsv1.StatefulSet) {
				s.Spec.Template.Spec.Volumes = append(s.Spec.Template.Spec.Volumes, corev1.Volume{Name: "data"})
			},
			"no volume is mounted": func(s *appsv1.StatefulSet) {
				s.Spec.Template.Spec.Containers[0].VolumeMounts[0].MountPath = "/elsewhere"
			},
			"a pod elsewhere": func(s *appsv1.StatefulSet) {
				s.Spec.VolumeClaimTemplates[0].Spec.AccessModes[0] = corev1.ReadWriteMany
			},
			"a class": func(s *appsv1.StatefulSet) {
				class := "fast"
				s.Spec.VolumeClaimTemplates[0].Spec.StorageClassName = &class
			},
			"scaled away": func(s *appsv1.StatefulSet) {
				s.Spec.PersistentVolumeClaimRetentionPolicy.WhenScaled = appsv1.DeletePersistentVolumeClaimRetentionPolicyType
			},
			"leaves its data": func(s *appsv1.StatefulSet) {
				s.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
			},
			"a group": func(s *appsv1.StatefulSet) {
				group := int64(65532)
				s.Spec.Template.Spec.SecurityContext.FSGroup = &group
			},
			"too small": func(s *appsv1.StatefulSet) {
				s.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("192Mi")
			},
		} {
			spoilt := set.DeepCopy()
			spoil(spoilt)
			if got := unkept(spoilt); !strings.Contains(got, why) {
				t.Errorf("%s: %q, want %q", name, got, why)
			}
		}
	}
}
