package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Names in the manifests that the suite relies on.
const (
	tokenSecret = "mesh-api-token" // filled by the CA
	tokenKey    = "token"
	trustMap    = "mesh-trust" // published by the CA
	trustAPICA  = "api-ca.pem"

	// NodeApp and ClientApp are the values of the label app.
	NodeApp   = "mesh-node"
	ClientApp = "mesh-client"
)

const (
	pollEvery = 250 * time.Millisecond
	// headStart is how long the pods of a mesh are waited for: as long as their
	// namespace's controller waits before it begins. Pods that it still finds then cost
	// half of their grace period more.
	headStart = 5 * time.Second
	// volumesWithin is how long the volumes of a mesh that is gone are waited for: a cluster's disks may be those of
	// another system.
	volumesWithin = time.Minute
)

// Mesh is a mesh in a namespace of its own.
type Mesh struct {
	Namespace string

	config *rest.Config
	kube   kubernetes.Interface
	client client.Client

	dial  dialer // forward, but in tests
	ways  ways
	sizes sizes // to which what Deploy has begun to make is to grow

	mu    sync.Mutex
	token string // of the client API, once it was read
}

// SecurityLevel is the label of the level that a namespace's pods are held to, and Privileged the only level that
// admits the verifier's capabilities (Kubernetes' pod security standards).
const (
	SecurityLevel = "pod-security.kubernetes.io/enforce"
	Privileged    = "privileged"
)

// Labels are those of a mesh's namespace.
func Labels(namespace string) map[string]string {
	return map[string]string{OwnerLabel: namespace, SecurityLevel: Privileged}
}

// New returns a handle on the mesh of a namespace; Deploy makes it.
func New(config *rest.Config, kube kubernetes.Interface, c client.Client, namespace string) *Mesh {
	m := &Mesh{Namespace: namespace, config: config, kube: kube, client: c}
	m.dial = m.forward
	return m
}

// Deploy creates the namespace and everything of the manifests, and gives the nodes
// further flags. What mounts the trust bundle comes once the CA has published it: such
// pods would wait by themselves, but the kubelet looks for it ever more rarely. For
// nothing else does it wait. What is there already is an error.
func (m *Mesh) Deploy(ctx context.Context, manifests fs.FS, nodeArgs ...string) error {
	return m.deploy(ctx, manifests, nodeArgs, m.client.Create)
}

// Complete is Deploy of a mesh of which a part, or all, may be there already, and stays
// as it is.
func (m *Mesh) Complete(ctx context.Context, manifests fs.FS, nodeArgs ...string) error {
	return m.deploy(ctx, manifests, nodeArgs, func(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
		return client.IgnoreAlreadyExists(m.client.Create(ctx, o, opts...))
	})
}

func (m *Mesh) deploy(ctx context.Context, manifests fs.FS, nodeArgs []string, create func(context.Context, client.Object, ...client.CreateOption) error) error {
	objects, err := Load(ctx, manifests, m.Namespace)
	if err != nil {
		return err
	}
	if err := addNodeArgs(objects, nodeArgs); err != nil {
		return err
	}
	if m.sizes, err = begin(objects); err != nil {
		return err
	}
	setUp := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Namespace, Labels: Labels(m.Namespace)}}}
	for _, o := range objects {
		setUp = append(setUp, o)
	}
	for _, o := range setUp {
		if mountsTrust(o) {
			if err := m.awaitTrust(ctx); err != nil {
				return err
			}
		}
		if err := create(ctx, o); err != nil {
			return fmt.Errorf("create %s %s: %w", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), err)
		}
	}
	return nil
}

// awaitTrust waits until the CA has published the trust bundle.
func (m *Mesh) awaitTrust(ctx context.Context) error {
	state := ""
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		err := m.client.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: trustMap}, &corev1.ConfigMap{})
		if err == nil {
			return true, nil
		}
		if ailing, err := m.ailing(ctx); err == nil {
			state = strings.Join(ailing, "; ")
		}
		return false, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("the CA of %s does not publish ConfigMap %s in time: %s", m.Namespace, trustMap, cmp.Or(state, "no pod of it ails"))
	}
	return err
}

// apiToken returns the bearer token of the client API, which the CA has made. It stays the
// same as long as the mesh is there.
func (m *Mesh) apiToken(ctx context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.token != "" {
		return m.token, nil
	}
	s, err := m.kube.CoreV1().Secrets(m.Namespace).Get(ctx, tokenSecret, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("API token of the mesh: %w", err)
	}
	token := strings.TrimSpace(string(s.Data[tokenKey])) // as the nodes read it
	if token == "" {
		return "", fmt.Errorf("the CA of %s has not filled Secret %s yet", m.Namespace, tokenSecret)
	}
	m.token = token
	return token, nil
}

// WaitReady waits until every pod of every workload is ready. The error tells
// which are not and why.
func (m *Mesh) WaitReady(ctx context.Context) error {
	state := ""
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		begun, growing := m.grow(ctx)
		missing, err := m.notReady(ctx)
		if err := errors.Join(growing, err); err != nil {
			if state == "" { // later ones may only say that the time is up
				state = err.Error()
			}
			return false, nil
		}
		missing = append(begun, missing...)
		state = strings.Join(missing, "; ")
		return len(missing) == 0, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("the mesh in %s is not ready in time: %s", m.Namespace, state)
	}
	return err
}

// notReady lists what keeps the mesh from being ready.
func (m *Mesh) notReady(ctx context.Context) ([]string, error) {
	apps := m.kube.AppsV1()
	sets, err := apps.StatefulSets(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	deployments, err := apps.Deployments(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var missing []string
	lacks := func(kind, name string, want, ready int32) {
		if ready < want {
			missing = append(missing, fmt.Sprintf("%s %s: %d of %d ready", kind, name, ready, want))
		}
	}
	for _, s := range sets.Items {
		lacks("StatefulSet", s.Name, Replicas(s.Spec.Replicas), s.Status.ReadyReplicas)
	}
	for _, d := range deployments.Items {
		lacks("Deployment", d.Name, Replicas(d.Spec.Replicas), d.Status.ReadyReplicas)
	}
	if len(sets.Items) == 0 {
		missing = append(missing, "no StatefulSet")
	}
	ailing, err := m.ailing(ctx)
	return append(missing, ailing...), err
}

// Replicas is how many pods a workload is to have: one where it does not say.
func Replicas(said *int32) int32 {
	if said == nil {
		return 1
	}
	return *said
}

// ailing says what is wrong with each pod that is not ready.
func (m *Mesh) ailing(ctx context.Context) ([]string, error) {
	pods, err := m.Pods(ctx, "")
	if err != nil {
		return nil, err
	}
	var ailing []string
	for _, p := range pods {
		if why := Ailing(p); why != "" {
			ailing = append(ailing, why)
		}
	}
	return ailing, nil
}

// Ailing says what is wrong with a pod that is not ready, or nothing.
func Ailing(p corev1.Pod) string {
	ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if ready && p.DeletionTimestamp == nil {
		return ""
	}
	why := fmt.Sprintf("pod %s: %s", p.Name, p.Status.Phase)
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			why += ", " + c.Message
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil {
			why += fmt.Sprintf(", %s waits: %s %s", s.Name, w.Reason, w.Message)
		}
		if t := s.LastTerminationState.Terminated; t != nil {
			why += fmt.Sprintf(", %s ended with code %d: %s", s.Name, t.ExitCode, t.Reason)
		}
	}
	return strings.TrimSpace(why)
}

// Successor returns the ready pod that has taken the place, and the name, of another one.
// The error says what keeps it from that.
func Successor(pods []corev1.Pod, of corev1.Pod) (corev1.Pod, error) {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == of.Name })
	switch {
	case i < 0:
		return corev1.Pod{}, fmt.Errorf("there is no pod %s", of.Name)
	case pods[i].UID == of.UID:
		return corev1.Pod{}, fmt.Errorf("pod %s is still the first of its name", of.Name)
	case Ailing(pods[i]) != "":
		return corev1.Pod{}, errors.New(Ailing(pods[i]))
	}
	return pods[i], nil
}

// Nodes returns the mesh's nodes, sorted by name.
func (m *Mesh) Nodes(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := m.Pods(ctx, NodeApp)
	if err == nil && len(pods) == 0 {
		err = fmt.Errorf("no pod with app=%s in %s", NodeApp, m.Namespace)
	}
	return pods, err
}

// Pods returns the pods with that value of the label app, or all of them.
func (m *Mesh) Pods(ctx context.Context, app string) ([]corev1.Pod, error) {
	o := metav1.ListOptions{}
	if app != "" {
		o.LabelSelector = "app=" + app
	}
	l, err := m.kube.CoreV1().Pods(m.Namespace).List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", m.Namespace, err)
	}
	slices.SortFunc(l.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return l.Items, nil
}

// Restart tells the nodes' controllers to replace every pod, one after the other in each
// set, as kubectl rollout restart does.
func (m *Mesh) Restart(ctx context.Context) error {
	return m.stamp(ctx, "restart", restartedAt, func(s *appsv1.StatefulSet) *metav1.ObjectMeta { return &s.Spec.Template.ObjectMeta })
}

// Nudge has the nodes' controllers look at their pods at once. One that was kept from making pods tries again
// after ever longer pauses, and nothing else wakes it.
func (m *Mesh) Nudge(ctx context.Context) error {
	return m.stamp(ctx, "wake the controller of", nudgedAt, func(s *appsv1.StatefulSet) *metav1.ObjectMeta { return &s.ObjectMeta })
}

const (
	// restartedAt is the annotation by which kubectl rollout restart changes a template.
	restartedAt = "kubectl.kubernetes.io/restartedAt"
	// nudgedAt is one that nothing reads.
	nudgedAt = "x0tta6bl4.test/nudged"
)

// stamp writes the time as an annotation into a part of each StatefulSet of nodes; what says what for.
func (m *Mesh) stamp(ctx context.Context, what, annotation string, part func(*appsv1.StatefulSet) *metav1.ObjectMeta) error {
	sets, err := m.kube.AppsV1().StatefulSets(m.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + NodeApp})
	if err != nil {
		return fmt.Errorf("%s the nodes of %s: %w", what, m.Namespace, err)
	}
	for _, s := range sets.Items {
		before := client.MergeFrom(s.DeepCopy())
		metav1.SetMetaDataAnnotation(part(&s), annotation, time.Now().UTC().Format(time.RFC3339Nano))
		if err := m.client.Patch(ctx, &s, before); err != nil {
			return fmt.Errorf("%s StatefulSet %s of %s: %w", what, s.Name, m.Namespace, err)
		}
	}
	return nil
}

// Kill ends every node at once, without the time to hand anything over. A pod is there until its
// processes have ended: only a deletion that is forced takes it away before.
func (m *Mesh) Kill(ctx context.Context) error {
	nodes := client.MatchingLabels{"app": NodeApp}
	if err := m.client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(m.Namespace), nodes, client.GracePeriodSeconds(1)); err != nil {
		return fmt.Errorf("kill the nodes of %s: %w", m.Namespace, err)
	}
	return nil
}

// stop begins to delete the namespace, deletes the workloads and their pods, and gives
// these a little time to go. The namespace's own way begins seconds later, and to
// delete pods waits out their grace periods.
//
// Deleted along with their controller the nodes would get their whole grace period, and use it to
// hand over sessions to each other. So they are told to end first; no later word makes that longer.
// Their claims go with the controllers: those that the namespace finds keep it for 8 s more.
func (m *Mesh) stop(ctx context.Context) error {
	defer m.ways.closeAll()
	inside := client.InNamespace(m.Namespace)
	err := errors.Join(
		m.client.DeleteAllOf(ctx, &appsv1.Deployment{}, inside, client.PropagationPolicy(metav1.DeletePropagationBackground)),
		m.client.DeleteAllOf(ctx, &corev1.Pod{}, inside, client.GracePeriodSeconds(1)),
		m.client.DeleteAllOf(ctx, &appsv1.StatefulSet{}, inside, client.PropagationPolicy(metav1.DeletePropagationBackground)),
		client.IgnoreNotFound(m.client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Namespace}})),
	)
	m.awaitNoPods(ctx)
	if err != nil {
		return fmt.Errorf("stop the mesh in %s: %w", m.Namespace, err)
	}
	return nil
}

// Delete deletes everything that Deploy made, in the cluster's scope too, and
// waits until it is gone. It does not mind what is gone already. Volumes are removed
// by who has made them: those that stay are no error, but Left names them.
func (m *Mesh) Delete(ctx context.Context) error {
	owned := client.MatchingLabels{OwnerLabel: m.Namespace}
	if err := errors.Join(
		m.deleteEach(ctx, &rbacv1.ClusterRoleBindingList{}, owned),
		m.deleteEach(ctx, &rbacv1.ClusterRoleList{}, owned),
		m.stop(ctx),
	); err != nil {
		return fmt.Errorf("delete the mesh in %s: %w", m.Namespace, err)
	}
	ns := &corev1.Namespace{}
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		return apierrors.IsNotFound(m.client.Get(ctx, client.ObjectKey{Name: m.Namespace}, ns)), nil
	})
	if wait.Interrupted(err) {
		why := "no reason given"
		for _, c := range ns.Status.Conditions {
			if c.Status == corev1.ConditionTrue {
				why = c.Message
			}
		}
		return fmt.Errorf("namespace %s does not go away: %s", m.Namespace, why)
	}
	if err == nil {
		m.awaitNoVolumes(ctx)
	}
	return err
}

// awaitNoVolumes gives the volumes of a mesh that is gone a little time to go, too.
func (m *Mesh) awaitNoVolumes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, volumesWithin)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		left, err := m.volumes(ctx)
		return err == nil && len(left) == 0, nil
	})
}

// volumes are those whose claims are, or were, in the mesh's namespace. They are in none themselves.
func (m *Mesh) volumes(ctx context.Context) ([]corev1.PersistentVolume, error) {
	var all corev1.PersistentVolumeList
	if err := m.client.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	return slices.DeleteFunc(all.Items, func(v corev1.PersistentVolume) bool {
		return v.Spec.ClaimRef == nil || v.Spec.ClaimRef.Namespace != m.Namespace
	}), nil
}

// deleteEach removes what has such labels by its names: who may remove a collection may remove those of others by a slip.
func (m *Mesh) deleteEach(ctx context.Context, list client.ObjectList, owned client.MatchingLabels) error {
	if err := m.client.List(ctx, list, owned); err != nil {
		return err
	}
	return meta.EachListItem(list, func(o runtime.Object) error {
		c, ok := o.(client.Object)
		if !ok {
			return fmt.Errorf("a %T in a %T", o, list)
		}
		return client.IgnoreNotFound(m.client.Delete(ctx, c))
	})
}

// awaitNoPods gives pods a little time to go. Those that do not are left to the
// namespace.
func (m *Mesh) awaitNoPods(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, headStart)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		var pods corev1.PodList
		err := m.client.List(ctx, &pods, client.InNamespace(m.Namespace))
		return err == nil && len(pods.Items) == 0, nil
	})
}

// Owner says whether there is a mesh in the namespace, and whether Deploy made it.
func (m *Mesh) Owner(ctx context.Context) (there, ours bool, err error) {
	var ns corev1.Namespace
	err = m.client.Get(ctx, client.ObjectKey{Name: m.Namespace}, &ns)
	if apierrors.IsNotFound(err) {
		return false, false, nil
	}
	return err == nil, ns.Labels[OwnerLabel] == m.Namespace, err
}

// Left names what of the mesh is still in the cluster.
func (m *Mesh) Left(ctx context.Context) ([]string, error) {
	owned := client.MatchingLabels{OwnerLabel: m.Namespace}
	var left []string
	var namespaces corev1.NamespaceList
	var roles rbacv1.ClusterRoleList
	var bindings rbacv1.ClusterRoleBindingList
	for _, l := range []client.ObjectList{&namespaces, &roles, &bindings} {
		if err := m.client.List(ctx, l, owned); err != nil {
			return nil, fmt.Errorf("look for leftovers of %s: %w", m.Namespace, err)
		}
	}
	for _, o := range namespaces.Items {
		left = append(left, "namespace "+o.Name)
	}
	for _, o := range roles.Items {
		left = append(left, "ClusterRole "+o.Name)
	}
	for _, o := range bindings.Items {
		left = append(left, "ClusterRoleBinding "+o.Name)
	}
	volumes, err := m.volumes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for leftovers of %s: %w", m.Namespace, err)
	}
	for _, o := range volumes {
		left = append(left, fmt.Sprintf("volume %s of %s (%s, class %q)", o.Name, o.Spec.ClaimRef.Name, o.Status.Phase, o.Spec.StorageClassName))
	}
	return left, nil
}
