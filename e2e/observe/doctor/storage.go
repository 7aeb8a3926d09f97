package doctor

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultClass are the annotations that make a StorageClass the default one, the second from before.
var defaultClass = []string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"}

// noProvisioner is what makes the volumes of a class that makes none.
const noProvisioner = "kubernetes.io/no-provisioner"

// storage sees whether the nodes' volumes would be made, and go with them. Their claims name no class.
func storage(ctx context.Context, c *Cluster) ([]Finding, error) {
	all, err := c.Kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	class, ok := defaultOf(all.Items)
	switch {
	case !ok:
		return []Finding{fatal(`kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true, of one that makes volumes`,
			"no StorageClass is the default one: the nodes' volumes would never be made")}, nil
	case class.Provisioner == noProvisioner:
		return []Finding{fatal("make a StorageClass the default one that makes volumes by itself",
			"the default StorageClass %s makes no volumes: the nodes would wait for them for ever", class.Name)}, nil
	case class.ReclaimPolicy != nil && *class.ReclaimPolicy != corev1.PersistentVolumeReclaimDelete:
		return []Finding{fatal("make a StorageClass the default one whose reclaimPolicy is Delete",
			"volumes of the default StorageClass %s stay when their claims are gone (%s): every scenario would leave some", class.Name, *class.ReclaimPolicy)}, nil
	}
	return nil, nil
}

// defaultOf is the class that a claim gets that names none: of several default ones the newest, as Kubernetes has it.
func defaultOf(classes []storagev1.StorageClass) (storagev1.StorageClass, bool) {
	classes = slices.DeleteFunc(slices.Clone(classes), func(s storagev1.StorageClass) bool {
		return !slices.ContainsFunc(defaultClass, func(a string) bool { return s.Annotations[a] == "true" })
	})
	if len(classes) == 0 {
		return storagev1.StorageClass{}, false
	}
	return slices.MinFunc(classes, func(a, b storagev1.StorageClass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	}), true
}
