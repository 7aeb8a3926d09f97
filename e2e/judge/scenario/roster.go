package scenario

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

// rosterSync bounds the first look at a namespace's pods.
const rosterSync = 30 * time.Second

// roster remembers every node pod that ever was in a mesh, as it was last seen: a pod
// that is gone cannot be asked why.
type roster struct {
	mu   sync.Mutex
	pods map[types.UID]corev1.Pod
	gone map[types.UID]bool
	stop context.CancelFunc
}

// watchPods follows the node pods of a namespace until close.
func watchPods(k kubernetes.Interface, namespace string) (*roster, error) {
	ctx, stop := context.WithCancel(context.Background())
	r := &roster{pods: map[types.UID]corev1.Pod{}, gone: map[types.UID]bool{}, stop: stop}
	f := informers.NewSharedInformerFactoryWithOptions(k, 0, informers.WithNamespace(namespace))
	i := f.Core().V1().Pods().Informer()
	_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { r.see(o, false) },
		UpdateFunc: func(_, o any) { r.see(o, false) },
		DeleteFunc: func(o any) { r.see(o, true) },
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch the pods of %s: %w", namespace, err)
	}
	f.Start(ctx.Done())
	sync, cancel := context.WithTimeout(ctx, rosterSync)
	defer cancel()
	if !cache.WaitForCacheSync(sync.Done(), i.HasSynced) {
		stop()
		return nil, fmt.Errorf("watch the pods of %s: the API server lists none within %v", namespace, rosterSync)
	}
	return r, nil
}

func (r *roster) close() {
	if r != nil {
		r.stop()
	}
}

func (r *roster) see(o any, gone bool) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	p, ok := o.(*corev1.Pod)
	if !ok || p.Labels["app"] != mesh.NodeApp {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[p.UID], r.gone[p.UID] = *p, gone
}

// all returns every pod that ever was, by name.
func (r *roster) all() []corev1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.pods), func(a, b corev1.Pod) int {
		if a.Name != b.Name {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
}

// Casualties names the nodes of the mesh that did not live through it: containers that
// restarted or were ended for want of memory, pods that were evicted, and pods that were
// deployed and have another in their place. Pods that were scaled away are none.
func (r *Run) Casualties(context.Context) ([]string, error) {
	all := r.roster.all()
	if len(all) < len(r.pods) {
		return nil, verdict.Unproven(fmt.Errorf("the watch has seen %d pods, %d were deployed", len(all), len(r.pods)))
	}
	return casualties(r.pods, all), nil
}

// casualties judges pods that ever were, given those that were deployed.
func casualties(deployed, all []corev1.Pod) []string {
	var found []string
	for _, p := range all {
		if p.Status.Phase == corev1.PodFailed {
			found = append(found, fmt.Sprintf("%s: %s: %s", p.Name, p.Status.Reason, p.Status.Message))
		}
		for _, s := range p.Status.ContainerStatuses {
			why := ""
			for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
				if t != nil && (s.RestartCount > 0 || t.Reason == oomKilled) {
					why = fmt.Sprintf(": %s, code %d, at %s", t.Reason, t.ExitCode, t.FinishedAt.Format(time.RFC3339))
				}
			}
			if s.RestartCount > 0 || why != "" {
				found = append(found, fmt.Sprintf("%s/%s restarted %d times%s", p.Name, s.Name, s.RestartCount, why))
			}
		}
		was := slices.IndexFunc(deployed, func(d corev1.Pod) bool { return d.Name == p.Name })
		if was >= 0 && deployed[was].UID != p.UID {
			found = append(found, fmt.Sprintf("%s was replaced: pod %s is not the one that was deployed", p.Name, p.UID))
		}
	}
	return found
}

const oomKilled = "OOMKilled"
