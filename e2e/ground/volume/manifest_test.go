package volume

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/yaml"

	"github.com/x0tta6bl4/mesh/manifests"
)

// deployed reads the one object of a kind that is deployed.
func deployed(t *testing.T, kind string, into any) {
	t.Helper()
	b, err := fs.ReadFile(manifests.System, "volumes/volumes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for doc := range bytes.SplitSeq(b, []byte("\n---\n")) {
		if !bytes.Contains(append([]byte("\n"), doc...), []byte("\nkind: "+kind+"\n")) {
			continue
		}
		found++
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	if found != 1 {
		t.Fatalf("%d objects of kind %s", found, kind)
	}
}

// TestTheClassIsOurs: the default one, whose volumes are made where their pods come to, and go with their claims.
func TestTheClassIsOurs(t *testing.T) {
	var class storagev1.StorageClass
	deployed(t, "StorageClass", &class)
	if class.Provisioner != Provisioner || class.Name != "standard" || class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
		t.Errorf("class %+v", class)
	}
	if p := class.ReclaimPolicy; p == nil || *p != corev1.PersistentVolumeReclaimDelete {
		t.Errorf("its volumes would stay: %v", p)
	}
	if m := class.VolumeBindingMode; m == nil || *m != storagev1.VolumeBindingWaitForFirstConsumer {
		t.Errorf("its volumes would be made before anybody knows where: %v", m)
	}
}

// TestItMayDoNoMore: what the pods may ask for, and what they may do on their machine.
func TestItMayDoNoMore(t *testing.T) {
	var role rbacv1.ClusterRole
	deployed(t, "ClusterRole", &role)
	var may []string
	for _, r := range role.Rules {
		may = append(may, strings.Join(r.Resources, ",")+": "+strings.Join(r.Verbs, ","))
	}
	if want := []string{"persistentvolumeclaims: list,watch", "persistentvolumes: list,watch,create,delete"}; !slices.Equal(may, want) {
		t.Errorf("it may %q, want %q", may, want)
	}
	var set appsv1.DaemonSet
	deployed(t, "DaemonSet", &set)
	pod := set.Spec.Template.Spec
	if len(pod.Containers) != 1 || len(pod.Volumes) != 1 || pod.HostNetwork || pod.HostPID || len(pod.Tolerations) > 0 ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Fatalf("pod %+v", pod)
	}
	c := pod.Containers[0]
	s := c.SecurityContext
	if *s.Privileged || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
		!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || !slices.Equal(s.Capabilities.Add, []corev1.Capability{"DAC_OVERRIDE"}) {
		t.Errorf("security context %+v", s)
	}
	path := pod.Volumes[0].HostPath
	if path == nil || len(c.VolumeMounts) != 1 || c.VolumeMounts[0].MountPath != path.Path || !slices.Contains(c.Args, "-dir="+path.Path) {
		t.Errorf("it has %v of the machine at %v, and is called with %q", path, c.VolumeMounts, c.Args)
	}
	if len(c.Env) != 1 || c.Env[0].ValueFrom == nil || c.Env[0].ValueFrom.FieldRef.FieldPath != "spec.nodeName" || !slices.Contains(c.Args, "-node=$("+c.Env[0].Name+")") {
		t.Errorf("it does not know its machine: %v, %q", c.Env, c.Args)
	}
}
