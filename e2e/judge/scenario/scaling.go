package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// ScaledUp returns how long it took from the proof of the stress until now, if an autoscaler of
// the mesh wants more replicas than the mesh was deployed with. That none does is a shortfall. Both times are this
// machine's.
func (s *Stress) ScaledUp(ctx context.Context) (verdict.Times, error) {
	scalers, err := s.run.autoscalers(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range scalers {
		if least := minReplicas(h); h.Status.DesiredReplicas > least {
			s.ScaledAt = time.Now()
			return verdict.Times{h.Name: s.ScaledAt.Sub(*s.Times.Proven)}, nil
		}
	}
	return nil, verdict.Shortf("no autoscaler of %s wants more than its least: %s", s.run.Mesh.Namespace, loads(scalers))
}

// Requested returns by how much the victim's count of requests for more nodes had grown
// when the autoscaler wanted them.
func (s *Stress) Requested(ctx context.Context) (map[string]float64, error) {
	w := s.Only(s.Window)
	w.End = s.ScaledAt
	return Read(ctx, s.run.Prom.Growth(metric.ScaleRequestsTotal, nil, w))
}

// ScaledBack checks that the mesh is as large again as it was deployed, and that each of
// its nodes has a verified session with every other. Those with nodes that took their
// leave lapse in their own time.
func (s *Stress) ScaledBack(ctx context.Context) error {
	pods, err := s.run.Mesh.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(pods) != len(s.run.Nodes) {
		return verdict.Shortf("the mesh has %d nodes, not %d", len(pods), len(s.run.Nodes))
	}
	for _, n := range s.run.Nodes {
		status, err := s.run.Mesh.Status(ctx, n)
		if err != nil {
			return err
		}
		verified := map[string]bool{}
		for _, p := range status.Peers {
			verified[p.Name] = p.Session == metric.StateVerified
		}
		for _, peer := range s.run.Nodes {
			if peer != n && !verified[peer] {
				return verdict.Shortf("%s has no verified session with %s", n, peer)
			}
		}
	}
	return nil
}

// scalersRest checks that every autoscaler of the mesh has measured its nodes and wants no
// more than its least: what one wants after that is not for the nodes' start.
func (r *Run) scalersRest(ctx context.Context) error {
	scalers, err := r.autoscalers(ctx)
	if err != nil {
		return err
	}
	for _, h := range scalers {
		if !rests(h) {
			return fmt.Errorf("the autoscalers of %s are not at rest before the stress: %s", r.Mesh.Namespace, loads(scalers))
		}
	}
	return nil
}

// unscaled checks that no autoscaler of the mesh has, or wants, more nodes than its least.
func (r *Run) unscaled(ctx context.Context) error {
	scalers, err := r.autoscalers(ctx)
	if err != nil {
		return err
	}
	for _, h := range scalers {
		if max(h.Status.CurrentReplicas, h.Status.DesiredReplicas) > minReplicas(h) {
			return fmt.Errorf("the mesh in %s is larger than it was made: %s", r.Mesh.Namespace, loads(scalers))
		}
	}
	return nil
}

// rests reports whether an autoscaler could measure when it last looked, and wanted no
// more replicas than its least.
func rests(h autoscalingv2.HorizontalPodAutoscaler) bool {
	measures := slices.ContainsFunc(h.Status.Conditions, func(c autoscalingv2.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscalingv2.ScalingActive && c.Status == corev1.ConditionTrue
	})
	return measures && h.Status.DesiredReplicas == minReplicas(h)
}

func (r *Run) autoscalers(ctx context.Context) ([]autoscalingv2.HorizontalPodAutoscaler, error) {
	l, err := r.env.Kube.AutoscalingV2().HorizontalPodAutoscalers(r.Mesh.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("autoscalers of %s: %w", r.Mesh.Namespace, err)
	}
	if len(l.Items) == 0 {
		return nil, fmt.Errorf("no autoscaler in %s", r.Mesh.Namespace)
	}
	return l.Items, nil
}

func minReplicas(h autoscalingv2.HorizontalPodAutoscaler) int32 {
	if h.Spec.MinReplicas == nil {
		return 1
	}
	return *h.Spec.MinReplicas
}

// loads tells what autoscalers measure and want, or why they measure nothing.
func loads(scalers []autoscalingv2.HorizontalPodAutoscaler) string {
	var parts []string
	for _, h := range scalers {
		part := h.Name + ": nothing measured"
		for _, m := range h.Status.CurrentMetrics {
			if m.Resource != nil && m.Resource.Current.AverageValue != nil {
				part = fmt.Sprintf("%s: %v of %s a pod", h.Name, m.Resource.Current.AverageValue, m.Resource.Name)
			}
		}
		part += fmt.Sprintf(", %d replicas wanted, at least %d", h.Status.DesiredReplicas, minReplicas(h))
		for _, c := range h.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Status != corev1.ConditionTrue {
				part += " (" + c.Message + ")"
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
