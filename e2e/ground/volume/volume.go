// Package volume makes the volumes of one machine: a directory for each claim, below one that holds nothing else. It runs on every
// machine of the cluster that the suite makes, each for its own, and gives Kubernetes what it needs to bring a pod back to its data.
//
// Kubernetes says on a claim who is to make its volume and, once the scheduler has chosen, on which machine. A volume names
// that machine, so that no pod of its claim comes to another. When its claim is gone it is released, and goes with all that is in it.
//
// The size of a volume is what was asked for, and nothing keeps a pod to it: all of them share the machine's disk.
package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Provisioner is the name by which a StorageClass asks for these volumes.
const Provisioner = "x0tta6bl4.test/directory"

// Annotations by which Kubernetes and a provisioner speak with each other.
const (
	forProvisioner = "volume.kubernetes.io/storage-provisioner" // on a claim: who is to make its volume
	onMachine      = "volume.kubernetes.io/selected-node"       // on a claim: where its first pod comes to
	madeBy         = "pv.kubernetes.io/provisioned-by"          // on a volume
)

// Run makes and removes the volumes of the machine that Kubernetes knows as node, below dir, until ctx ends. dir must be an
// absolute path, the same here and on the machine.
func Run(ctx context.Context, config *rest.Config, node, dir string) error {
	if node == "" {
		return errors.New("the machine has no name")
	}
	below, err := open(dir)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	m, err := manager.New(config, manager.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	here := &maker{client: m.GetClient(), node: node, base: below}
	if err := builder.ControllerManagedBy(m).For(&corev1.PersistentVolumeClaim{}).Complete(reconcile.Func(here.claim)); err != nil {
		return err
	}
	if err := builder.ControllerManagedBy(m).For(&corev1.PersistentVolume{}).Complete(reconcile.Func(here.volume)); err != nil {
		return err
	}
	return m.Start(ctx)
}

// maker makes and removes the volumes of one machine.
type maker struct {
	client client.Client
	node   string
	base   base
}

// claim makes the volume that a claim waits for. What failed is tried again; a volume that is there already stays as it is.
func (m *maker) claim(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	c := &corev1.PersistentVolumeClaim{}
	if err := m.client.Get(ctx, r.NamespacedName, c); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !m.waits(c) {
		return reconcile.Result{}, nil
	}
	if why := refused(c); why != "" {
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("no volume for claim %s: %s", r.NamespacedName, why))
	}
	v := m.volumeOf(c)
	if err := m.base.add(v.Name); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, client.IgnoreAlreadyExists(m.client.Create(ctx, v))
}

// waits reports whether a claim waits for a volume on this machine.
func (m *maker) waits(c *corev1.PersistentVolumeClaim) bool {
	return c.DeletionTimestamp == nil && c.Spec.VolumeName == "" &&
		c.Annotations[forProvisioner] == Provisioner && c.Annotations[onMachine] == m.node
}

// refused says what a claim asks for that a directory of one machine is not.
func refused(c *corev1.PersistentVolumeClaim) string {
	switch mode := c.Spec.VolumeMode; {
	case mode != nil && *mode != corev1.PersistentVolumeFilesystem:
		return fmt.Sprintf("it asks for volume mode %s", *mode)
	case c.Spec.Selector != nil:
		return "it selects a volume"
	case c.Spec.DataSource != nil, c.Spec.DataSourceRef != nil:
		return "it asks for a copy"
	}
	for _, mode := range c.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return fmt.Sprintf("it asks for access mode %s", mode)
		}
	}
	return ""
}

// volumeOf is the volume of a claim.
func (m *maker) volumeOf(c *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	name, class := "pvc-"+string(c.UID), ""
	if c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{madeBy: Provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: c.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   slices.Clone(c.Spec.AccessModes),
			VolumeMode:                    c.Spec.VolumeMode,
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, // as the class says, whose only one this is
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: m.base.of(name)}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{m.node}}},
			}}}},
		},
	}
}

// volume removes a volume of this machine whose claim is gone: first what is in it, so that one that nobody knows any more
// has left nothing.
func (m *maker) volume(ctx context.Context, r reconcile.Request) (reconcile.Result, error) {
	v := &corev1.PersistentVolume{}
	if err := m.client.Get(ctx, r.NamespacedName, v); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !m.over(v) {
		return reconcile.Result{}, nil
	}
	path := ""
	if v.Spec.Local != nil {
		path = v.Spec.Local.Path
	}
	err := m.base.remove(v.Name, path)
	if errors.Is(err, errForeign) {
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("volume %s stays: %w", v.Name, err))
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, client.IgnoreNotFound(m.client.Delete(ctx, v, client.Preconditions{UID: &v.UID}))
}

// over reports whether a volume is one of this machine's that is to go.
func (m *maker) over(v *corev1.PersistentVolume) bool {
	return v.Annotations[madeBy] == Provisioner && machine(v) == m.node && v.Status.Phase == corev1.VolumeReleased &&
		v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
}

// machine is the one that a volume of volumeOf names; of any other volume it is none.
func machine(v *corev1.PersistentVolume) string {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return ""
	}
	terms := v.Spec.NodeAffinity.Required.NodeSelectorTerms
	if len(terms) != 1 || len(terms[0].MatchFields) != 0 || len(terms[0].MatchExpressions) != 1 {
		return ""
	}
	only := terms[0].MatchExpressions[0]
	if only.Key != corev1.LabelHostname || only.Operator != corev1.NodeSelectorOpIn || len(only.Values) != 1 {
		return ""
	}
	return only.Values[0]
}
