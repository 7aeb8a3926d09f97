package mesh

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

func TestDeployAndDelete(t *testing.T) {
	c := crfake.NewClientBuilder().Build()
	m := New(nil, fake.NewClientset(), c, "s1")
	if err := m.Deploy(t.Context(), fstest.MapFS{"mesh.yaml": {Data: []byte(manifests)}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Deploy(t.Context(), fstest.MapFS{"mesh.yaml": {Data: []byte(manifests)}}); err == nil {
		t.Error("a mesh is deployed into the place of another")
	}
	if err := m.Complete(t.Context(), fstest.MapFS{"mesh.yaml": {Data: []byte(manifests)}}); err != nil {
		t.Errorf("a mesh that is whole cannot be completed: %v", err)
	}
	other := New(nil, fake.NewClientset(), c, "s2")
	if err := other.Deploy(t.Context(), fstest.MapFS{"mesh.yaml": {Data: []byte(manifests)}}); err != nil {
		t.Fatalf("a second mesh beside the first: %v", err)
	}
	left, err := m.Left(t.Context())
	if err != nil || len(left) != 4 {
		t.Fatalf("before: %v, %v", left, err)
	}
	for range 2 { // the second time there is nothing to do, which is no error
		if err := m.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := m.Left(t.Context()); err != nil || len(left) != 0 {
		t.Fatalf("after: %v, %v", left, err)
	}
	if left, err := other.Left(t.Context()); err != nil || len(left) != 4 {
		t.Fatalf("the other mesh: %v, %v", left, err)
	}
}

// volumeOf is a volume of a claim in a namespace.
func volumeOf(namespace, name string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeReleased}}
	v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: namespace, Name: "data-mesh-node-a-0"}
	return v
}

// TestVolumesThatStayAreNamed: the mesh's own, and no other mesh's, nobody's, or the claim's of that name elsewhere.
func TestVolumesThatStayAreNamed(t *testing.T) {
	free := volumeOf("", "pv-free")
	free.Spec.ClaimRef = nil
	c := crfake.NewClientBuilder().WithObjects(volumeOf("s1", "pv-own"), volumeOf("s12", "pv-other"), free).Build()
	left, err := New(nil, fake.NewClientset(), c, "s1").Left(t.Context())
	if want := []string{`volume pv-own of data-mesh-node-a-0 (Released, class "")`}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left %q, %v, want %q", left, err, want)
	}
}

// TestDeleteWaitsForVolumes: they go a little later than what they belong to. Those that do not are waited for until a deadline.
func TestDeleteWaitsForVolumes(t *testing.T) {
	looks := 0
	c := crfake.NewClientBuilder().WithObjects(volumeOf("s1", "pv-own"), volumeOf("s2", "pv-other")).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			if _, ok := l.(*corev1.PersistentVolumeList); ok {
				if looks++; looks == 2 {
					if err := c.Delete(ctx, volumeOf("s1", "pv-own")); err != nil {
						return err
					}
				}
			}
			return c.List(ctx, l, opts...)
		},
	}).Build()
	m := New(nil, fake.NewClientset(), c, "s1")
	if err := m.Delete(t.Context()); err != nil || looks != 2 {
		t.Errorf("looked %d times: %v", looks, err)
	}
	bubble.Test(t, func(t *testing.T) {
		stays := New(nil, fake.NewClientset(), crfake.NewClientBuilder().WithObjects(volumeOf("s1", "pv-own")).Build(), "s1")
		began := time.Now()
		if err := stays.Delete(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < volumesWithin || took > volumesWithin+pollEvery {
			t.Errorf("a volume that stays was waited for %v", took)
		}
		if left, err := stays.Left(t.Context()); err != nil || len(left) != 1 {
			t.Errorf("left %q, %v", left, err)
		}
	})
}

// TestKillEndsTheNodes: all of this mesh's and nothing else, and not by force, which would take pods away whose processes live on.
func TestKillEndsTheNodes(t *testing.T) {
	pod := func(namespace, app string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app + "-0", Labels: map[string]string{"app": app}}}
	}
	var grace *int64
	c := crfake.NewClientBuilder().WithObjects(pod("s1", NodeApp), pod("s1", ClientApp), pod("s1", "mesh-ca"), pod("s2", NodeApp)).
		WithInterceptorFuncs(interceptor.Funcs{
			DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
				asked := client.DeleteAllOfOptions{}
				grace = asked.ApplyOptions(opts).GracePeriodSeconds
				return c.DeleteAllOf(ctx, o, opts...)
			},
		}).Build()
	if err := New(nil, fake.NewClientset(), c, "s1").Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if grace == nil || *grace < 1 {
		t.Errorf("killed with a grace period of %v", grace)
	}
	var left corev1.PodList
	if err := c.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range left.Items {
		names = append(names, p.Namespace+"/"+p.Name)
	}
	slices.Sort(names)
	if want := []string{"s1/mesh-ca-0", "s1/mesh-client-0", "s2/mesh-node-0"}; !slices.Equal(names, want) {
		t.Errorf("left are %q, want %q", names, want)
	}
}

// TestRestartReplacesPods: it changes what pods are made from, of the nodes alone. A nudge changes nothing of that.
func TestRestartReplacesPods(t *testing.T) {
	set := func(app string) *appsv1.StatefulSet {
		return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: app, Labels: map[string]string{"app": app}}}
	}
	c := crfake.NewClientBuilder().WithObjects(set(NodeApp), set("other")).Build()
	m := New(nil, fake.NewClientset(set(NodeApp), set("other")), c, "s1")
	for _, step := range []struct {
		do            func(context.Context) error
		set, template string // what is annotated by then
	}{{m.Nudge, nudgedAt, ""}, {m.Restart, nudgedAt, restartedAt}} {
		if err := step.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		var nodes, other appsv1.StatefulSet
		for name, s := range map[string]*appsv1.StatefulSet{NodeApp: &nodes, "other": &other} {
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "s1", Name: name}, s); err != nil {
				t.Fatal(err)
			}
		}
		of, from := nodes.Annotations, nodes.Spec.Template.Annotations
		if of[step.set] == "" || (from[step.template] == "") != (step.template == "") || len(of) != 1 || len(from) > 1 {
			t.Errorf("the set is annotated with %v, its pods with %v", of, from)
		}
		if len(other.Annotations)+len(other.Spec.Template.Annotations) > 0 {
			t.Errorf("another set is annotated: %+v", other)
		}
	}
}

// TestHalfAMeshIsCompleted: what is there stays as it is, and the rest comes.
func TestHalfAMeshIsCompleted(t *testing.T) {
	c := crfake.NewClientBuilder().Build()
	m := New(nil, fake.NewClientset(), c, "s1")
	fsys := fstest.MapFS{"mesh.yaml": {Data: []byte(manifests)}}
	if err := m.Deploy(t.Context(), fsys); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKey{Namespace: "s1", Name: "mesh-node-a"}
	var set appsv1.StatefulSet
	if err := c.Get(t.Context(), key, &set); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), &set); err != nil {
		t.Fatal(err)
	}
	var ns corev1.Namespace
	if err := c.Get(t.Context(), client.ObjectKey{Name: "s1"}, &ns); err != nil {
		t.Fatal(err)
	}
	ns.Annotations = map[string]string{"mine": "kept"}
	if err := c.Update(t.Context(), &ns); err != nil {
		t.Fatal(err)
	}
	if err := m.Complete(t.Context(), fsys); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), key, &set); err != nil {
		t.Errorf("what was missing: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "s1"}, &ns); err != nil || ns.Annotations["mine"] != "kept" {
		t.Errorf("what was there: %v, %v", ns.Annotations, err)
	}
}

// TestToken: it is what the CA put into the Secret, and nothing before that.
func TestToken(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: tokenSecret}}
	k := fake.NewClientset(secret)
	m := New(nil, k, nil, "s1")
	if _, err := m.apiToken(t.Context()); err == nil || !strings.Contains(err.Error(), "has not filled") {
		t.Errorf("an empty Secret: %v", err)
	}
	secret.Data = map[string][]byte{tokenKey: []byte("abc\n")}
	if _, err := k.CoreV1().Secrets("s1").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, err := m.apiToken(t.Context()); err != nil || got != "abc" {
		t.Errorf("token %q, %v", got, err)
	}
	if _, err := New(nil, k, nil, "s2").apiToken(t.Context()); err == nil {
		t.Error("another mesh has this one's token")
	}
}

// TestNodesComeAfterTheTrustBundle: no pod is made that would have to wait for it.
func TestNodesComeAfterTheTrustBundle(t *testing.T) {
	const workloads = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mesh-node-a, namespace: x0tta6bl4}
spec:
  template:
    spec:
      volumes:
        - {name: data, emptyDir: {}}
        - {name: trust, configMap: {name: mesh-trust}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mesh-client, namespace: x0tta6bl4}
`
	fsys := fstest.MapFS{"mesh.yaml": {Data: []byte(workloads)}}
	node, trust := client.ObjectKey{Namespace: "s1", Name: "mesh-node-a"}, client.ObjectKey{Namespace: "s1", Name: trustMap}

	c := crfake.NewClientBuilder().Build()
	ca := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: "mesh-ca-0"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := New(nil, fake.NewClientset(ca), c, "s1").Deploy(ctx, fsys)
	if err == nil || !strings.Contains(err.Error(), trustMap) || !strings.Contains(err.Error(), "pod mesh-ca-0: Pending") {
		t.Errorf("without a CA: %v", err)
	}
	if err := c.Get(t.Context(), node, &appsv1.StatefulSet{}); !apierrors.IsNotFound(err) {
		t.Errorf("a StatefulSet before the bundle that its pods mount: %v", err)
	}

	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: trust.Namespace, Name: trust.Name}}
	c = crfake.NewClientBuilder().WithObjects(bundle).Build()
	if err := New(nil, fake.NewClientset(), c, "s1").Deploy(t.Context(), fsys); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), node, &appsv1.StatefulSet{}); err != nil {
		t.Error(err)
	}
}

func TestDeleteSaysWhatHoldsTheNamespace(t *testing.T) {
	ns := &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "s1", Finalizers: []string{"x/y"}, Labels: map[string]string{OwnerLabel: "s1"}},
		Status: corev1.NamespaceStatus{Conditions: []corev1.NamespaceCondition{
			{Type: corev1.NamespaceContentRemaining, Status: corev1.ConditionTrue, Message: "networkchaos has 1 resource instances"}}},
	}
	m := New(nil, fake.NewClientset(), crfake.NewClientBuilder().WithObjects(ns).Build(), "s1")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := m.Delete(ctx); err == nil || !strings.Contains(err.Error(), "networkchaos has 1 resource instances") {
		t.Fatalf("got %v", err)
	}
}

func TestWaitReadySaysWhatIsMissing(t *testing.T) {
	k := fake.NewClientset(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "s1", Name: "a-0"},
		Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Name:  "meshnode",
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}},
		}}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := New(nil, k, crfake.NewClientBuilder().Build(), "s1").WaitReady(ctx)
	if err == nil || !strings.Contains(err.Error(), "no StatefulSet") || !strings.Contains(err.Error(), "pod a-0: Pending, meshnode waits: ImagePullBackOff no such image") {
		t.Fatalf("got %v", err)
	}
}

func TestAiling(t *testing.T) {
	ready := corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	if why := Ailing(ready); why != "" {
		t.Errorf("a ready pod: %s", why)
	}
	ready.DeletionTimestamp = &metav1.Time{}
	if Ailing(ready) == "" {
		t.Error("a pod that goes away is taken for ready")
	}
}

func TestFetch(t *testing.T) {
	const token = "secret-token"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/broken":
			w.WriteHeader(http.StatusBadGateway)
		case r.Header.Get("Authorization") != "Bearer "+token:
			api.NewProblem(http.StatusUnauthorized, "a bearer token is needed").ServeHTTP(w, r)
		default:
			if _, err := w.Write([]byte("fine")); err != nil {
				t.Error(err)
			}
		}
	}))
	defer s.Close()
	if b, err := fetch(t.Context(), s.Client(), s.URL+"/", token); err != nil || string(b) != "fine" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := fetch(t.Context(), s.Client(), s.URL+"/", "wrong"); err == nil || !strings.Contains(err.Error(), "a bearer token is needed") {
		t.Errorf("problem: got %v", err)
	}
	if _, err := fetch(t.Context(), s.Client(), s.URL+"/broken", token); err == nil || !strings.Contains(err.Error(), "502") || strings.Contains(err.Error(), token) {
		t.Errorf("status: got %v", err)
	}
}

// pages answers paths with bodies.
func pages(t *testing.T, bodies map[string]string) func(string) ([]byte, error) {
	t.Helper()
	return func(path string) ([]byte, error) {
		b, ok := bodies[path]
		if !ok {
			return nil, fmt.Errorf("unexpected question %s", path)
		}
		return []byte(b), nil
	}
}

func TestJournalReadsEveryPage(t *testing.T) {
	entries, err := journal(pages(t, map[string]string{
		"/v1/events?after=0": "{\"seq\":1,\"kind\":\"a\"}\n{\"seq\":2,\"kind\":\"b\"}\n",
		"/v1/events?after=2": "{\"seq\":3,\"kind\":\"c\"}\n",
		"/v1/events?after=3": "",
	}))
	if err != nil || len(entries) != 3 || entries[2].Kind != "c" {
		t.Fatalf("got %v, %v", entries, err)
	}
	if _, err := journal(pages(t, map[string]string{
		"/v1/events?after=0": "{\"seq\":1}\n", "/v1/events?after=1": "{\"seq\":1}\n",
	})); err == nil || !strings.Contains(err.Error(), "advance") {
		t.Fatalf("a journal that repeats itself: %v", err)
	}
}

func TestRecordsReadsEveryPage(t *testing.T) {
	ids, err := records(pages(t, map[string]string{
		"/v1/records?after=":    `{"records":[{"id":"a"},{"id":"b c"}],"more":true}`,
		"/v1/records?after=b+c": `{"records":[{"id":"d"}],"more":false}`,
	}))
	if err != nil || strings.Join(ids, ",") != "a,b c,d" {
		t.Fatalf("got %q, %v", ids, err)
	}
	for name, body := range map[string]string{
		"an empty page with more": `{"records":[],"more":true}`,
		"no JSON":                 `nonsense`,
	} {
		if _, err := records(pages(t, map[string]string{"/v1/records?after=": body})); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestSuccessor(t *testing.T) {
	pod := func(uid string, ready corev1.ConditionStatus) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "mesh-node-a-0", UID: types.UID(uid)},
			Status: corev1.PodStatus{
				Phase:      corev1.PodRunning,
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
			},
		}
	}
	going := pod("2", corev1.ConditionTrue)
	going.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	other := pod("2", corev1.ConditionTrue)
	other.Name = "mesh-node-a-1"
	for name, c := range map[string]struct {
		now  corev1.Pod
		want string // in the error; none if there is a successor
	}{
		"ready":         {now: pod("2", corev1.ConditionTrue)},
		"not there":     {now: other, want: "no pod mesh-node-a-0"},
		"the same":      {now: pod("1", corev1.ConditionTrue), want: "still the first"},
		"not ready yet": {now: pod("2", corev1.ConditionFalse), want: "pod mesh-node-a-0: Running"},
		"going, too":    {now: going, want: "pod mesh-node-a-0: Running"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Successor([]corev1.Pod{c.now}, pod("1", corev1.ConditionTrue))
			switch {
			case c.want == "" && (err != nil || got.UID != "2"):
				t.Errorf("pod %q, %v", got.UID, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
