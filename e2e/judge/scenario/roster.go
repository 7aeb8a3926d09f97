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
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// rosterSync bounds the first look at a namespace's pods.
const rosterSync = 30 * time.Second

// roster remembers every node pod that ever was in a mesh, as it was last seen: a pod
// that is gone cannot be asked why.
type roster struct {
	mu    sync.Mutex
	pods  map[types.UID]corev1.Pod
	ready map[types.UID]time.Time // when it first was
	stop  context.CancelFunc
}

func newRoster(stop context.CancelFunc) *roster {
	return &roster{pods: map[types.UID]corev1.Pod{}, ready: map[types.UID]time.Time{}, stop: stop}
}

// watchPods follows the node pods of a namespace until close.
func watchPods(k kubernetes.Interface, namespace string) (*roster, error) {
	ctx, stop := context.WithCancel(context.Background())
	r := newRoster(stop)
	f := informers.NewSharedInformerFactoryWithOptions(k, 0, informers.WithNamespace(namespace))
	i := f.Core().V1().Pods().Informer()
	_, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    r.see,
		UpdateFunc: func(_, o any) { r.see(o) },
		DeleteFunc: r.see,
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

func (r *roster) see(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	p, ok := o.(*corev1.Pod)
	if !ok || p.Labels["app"] != mesh.NodeApp {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[p.UID] = *p
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && r.ready[p.UID].IsZero() {
			r.ready[p.UID] = c.LastTransitionTime.Time
		}
	}
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

// stay is a pod's time as a node of the mesh: from when it was first ready until it was told to leave. A time
// is zero if it did not come to that.
type stay struct {
	name        string
	ready, told time.Time
}

// unread returns the stays of the pods whose journals nobody reads: those of names that were deployed are read, and
// go on from pod to pod.
func (r *roster) unread(deployed []string) (stays []stay) {
	all := r.all()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range all {
		if !slices.Contains(deployed, p.Name) {
			stays = append(stays, stay{p.Name, r.ready[p.UID], told(p)})
		}
	}
	return stays
}

// told returns when a pod was told to leave. Its deletion is dated by when it has to be gone.
func told(p corev1.Pod) time.Time {
	if p.DeletionTimestamp == nil {
		return time.Time{}
	}
	var grace time.Duration
	if s := p.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	return p.DeletionTimestamp.Add(-grace)
}

// during returns the part of a window that is in the stay, and whether the pod was a node in it.
func (s stay) during(w prom.Window) (prom.Window, bool) {
	if s.ready.After(w.Start) {
		w.Start = s.ready
	}
	if !s.told.IsZero() && s.told.Before(w.End) {
		w.End = s.told
	}
	return w, !s.ready.IsZero() && s.ready.Before(w.End) && w.Start.Before(w.End)
}

// ever returns every node pod that ever was in the mesh.
func (r *Run) ever() ([]corev1.Pod, error) {
	all := r.roster.all()
	if len(all) < len(r.pods) {
		return nil, verdict.Unproven(fmt.Errorf("the watch has seen %d pods, %d were deployed", len(all), len(r.pods)))
	}
	return all, nil
}

// Casualties names the nodes of the mesh that did not live through it: containers that
// restarted or were ended for want of memory, pods that were evicted, and pods that were
// deployed and have another in their place. Pods that were scaled away are none.
func (r *Run) Casualties(context.Context) ([]string, error) {
	all, err := r.ever()
	if err != nil {
		return nil, err
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
