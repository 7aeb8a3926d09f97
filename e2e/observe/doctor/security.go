package doctor

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
)

// exampleNamespace is asked for. It is not made.
const exampleNamespace = "x0tta6bl4-doctor"

// noMatter is said of a dry run in another namespace where the real pod in its own may well be admitted.
var noMatter = []string{"violates PodSecurity", "does not support dry run", "exceeded quota"}

// security sees whether a namespace may be made that holds the verifier's pods, and such pods.
func security(ctx context.Context, c *Cluster) ([]Finding, error) {
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	asked := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: exampleNamespace, Labels: mesh.Labels(exampleNamespace)}}
	made, err := c.Kube.CoreV1().Namespaces().Create(ctx, asked, dry)
	if err != nil {
		return []Finding{fatal("ask for a namespace like that, or for an exception of the policy that refuses it", "no namespace may be made that holds privileged pods: %v", err)}, nil
	}
	if level := made.Labels[mesh.SecurityLevel]; level != mesh.Privileged {
		return []Finding{fatal("ask for an exception of the policy that changes it", "the pod security level of new namespaces is set to %q, and the verifier needs %s", level, mesh.Privileged)}, nil
	}
	all, _, err := workloads(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, w := range all {
		// In a namespace that is there: one that is not made holds nothing. What that one's own level forbids is no matter.
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: exampleNamespace, Labels: w.pod.Labels, Annotations: w.pod.Annotations}, Spec: w.pod.Spec,
		}
		pod.Spec.ServiceAccountName = ""
		_, err := c.Kube.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, dry)
		if err != nil && !slices.ContainsFunc(noMatter, func(words string) bool { return strings.Contains(err.Error(), words) }) {
			found = append(found, note("see whether that is so in other namespaces, and ask for an exception there", "a pod of %s would be refused in namespace default: %v", w.name, err))
		}
	}
	return found, nil
}
