package manifests

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// published are what the authority makes by itself, with a right of its own to do so.
var published = []string{"ConfigMap/mesh-trust"}

// TestKustomizationIsWhole: `kubectl apply -k manifests/mesh` takes every file.
func TestKustomizationIsWhole(t *testing.T) {
	b, err := os.ReadFile("mesh/Kustomization")
	if err != nil {
		t.Fatal(err)
	}
	// All that it may say: what else it said would be in no mesh of the suite's.
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	if err := yaml.UnmarshalStrict(b, &k); err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(os.DirFS("mesh"), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if k.APIVersion != "kustomize.config.k8s.io/v1beta1" || k.Kind != "Kustomization" || !slices.Equal(k.Resources, files) {
		t.Errorf("%+v, want the resources %q", k, files)
	}
}

// TestKubectlBuildsTheMesh has kubectl, where there is one, build what it would apply.
func TestKubectlBuildsTheMesh(t *testing.T) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("there is no kubectl; TestKustomizationIsWhole sees the same")
	}
	built, err := exec.CommandContext(t.Context(), kubectl, "kustomize", "mesh").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, got := names(mesh(t)), names(documents(t, built))
	if !slices.Equal(got, want) {
		t.Errorf("kubectl builds %q, the files hold %q", got, want)
	}
}

// TestTheMeshIsClosed: everything that a pod cannot start without is in the manifests, or made
// by the authority.
func TestTheMeshIsClosed(t *testing.T) {
	if missing := missing(t, mesh(t)); len(missing) > 0 {
		t.Errorf("pods would wait for %q for ever", missing)
	}
}

// TestWhatIsMissingIsSeen: a mesh whose Secret only a comment names is not closed.
func TestWhatIsMissingIsSeen(t *testing.T) {
	all := slices.DeleteFunc(mesh(t), func(o unstructured.Unstructured) bool {
		return o.GetKind() == "Secret" || o.GetKind() == "ServiceAccount" && o.GetName() == "mesh-client"
	})
	if got, want := missing(t, all), []string{"Secret/mesh-api-token", "ServiceAccount/mesh-client"}; !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
}

// mesh are the objects of the files.
func mesh(t *testing.T) (all []unstructured.Unstructured) {
	t.Helper()
	files, err := fs.Glob(Mesh, "mesh/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := fs.ReadFile(Mesh, f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, documents(t, b)...)
	}
	return all
}

func documents(t *testing.T, b []byte) (all []unstructured.Unstructured) {
	t.Helper()
	for doc := range bytes.SplitSeq(b, []byte("\n---\n")) {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal(doc, &o.Object); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

func names(all []unstructured.Unstructured) (names []string) {
	for _, o := range all {
		names = append(names, o.GetKind()+"/"+o.GetName())
	}
	slices.Sort(names)
	return names
}

// missing are what the pods of workloads need and none of the objects is, sorted.
func missing(t *testing.T, all []unstructured.Unstructured) []string {
	t.Helper()
	there := append(names(all), published...)
	var missing []string
	need := func(kind, name string, optional *bool) {
		if name != "" && (optional == nil || !*optional) && !slices.Contains(there, kind+"/"+name) {
			missing = append(missing, kind+"/"+name)
		}
	}
	for _, o := range all {
		spec, found, err := unstructured.NestedMap(o.Object, "spec", "template", "spec")
		if err != nil || !found {
			continue // no workload
		}
		var pod corev1.PodSpec
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &pod); err != nil {
			t.Fatalf("%s: %v", o.GetName(), err)
		}
		need("ServiceAccount", pod.ServiceAccountName, nil)
		for _, v := range pod.Volumes {
			if v.Secret != nil {
				need("Secret", v.Secret.SecretName, v.Secret.Optional)
			}
			if v.ConfigMap != nil {
				need("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional)
			}
			if v.PersistentVolumeClaim != nil {
				need("PersistentVolumeClaim", v.PersistentVolumeClaim.ClaimName, nil)
			}
		}
		for _, c := range append(pod.Containers, pod.InitContainers...) {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					need("Secret", e.ValueFrom.SecretKeyRef.Name, e.ValueFrom.SecretKeyRef.Optional)
				}
				if e.ValueFrom != nil && e.ValueFrom.ConfigMapKeyRef != nil {
					need("ConfigMap", e.ValueFrom.ConfigMapKeyRef.Name, e.ValueFrom.ConfigMapKeyRef.Optional)
				}
			}
			if len(c.EnvFrom) > 0 {
				t.Errorf("%s: envFrom is not looked at here", strings.Join([]string{o.GetKind(), o.GetName(), c.Name}, "/"))
			}
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}
