package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Collect writes what can be known of the mesh into a directory: pods/ with
// each pod as YAML and the logs of its containers, of their predecessors too,
// events.txt, journal/ and history.jsonl. It takes what it can get: the error
// names what it could not.
func (m *Mesh) Collect(ctx context.Context, dir string) error {
	pods, err := m.Pods(ctx, "")
	if err != nil {
		return err
	}
	for _, sub := range []string{"pods", "journal"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	var errs []error
	for _, p := range pods {
		errs = append(errs, m.collectPod(ctx, filepath.Join(dir, "pods"), p))
		if p.Labels["app"] == NodeApp {
			errs = append(errs, m.collectJournal(ctx, filepath.Join(dir, "journal"), p.Name))
		}
	}
	errs = append(errs, m.collectEvents(ctx, filepath.Join(dir, "events.txt")))
	history, err := m.History(ctx)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "history.jsonl"), history, 0o644)
	}
	errs = append(errs, err)
	return errors.Join(errs...)
}

func (m *Mesh) collectPod(ctx context.Context, dir string, p corev1.Pod) error {
	p.ManagedFields = nil
	b, err := yaml.Marshal(p)
	if err != nil {
		return err
	}
	errs := []error{os.WriteFile(filepath.Join(dir, p.Name+".yaml"), b, 0o644)}
	statuses := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses)
	for _, s := range statuses {
		errs = append(errs, m.collectLog(ctx, dir, p.Name, s.Name, false))
		if s.RestartCount > 0 {
			errs = append(errs, m.collectLog(ctx, dir, p.Name, s.Name, true))
		}
	}
	return errors.Join(errs...)
}

// Log reads what a container of a pod has written; the pod's only one if none
// is named.
func (m *Mesh) Log(ctx context.Context, pod, container string) ([]byte, error) {
	return m.log(ctx, pod, container, false)
}

func (m *Mesh) log(ctx context.Context, pod, container string, previous bool) ([]byte, error) {
	b, err := m.kube.CoreV1().Pods(m.Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Previous: previous}).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("log of %s/%s: %w", pod, container, err)
	}
	return b, nil
}

func (m *Mesh) collectLog(ctx context.Context, dir, pod, container string, previous bool) error {
	b, err := m.log(ctx, pod, container, previous)
	if err != nil {
		return err
	}
	name := pod + "." + container
	if previous {
		name += ".previous"
	}
	return os.WriteFile(filepath.Join(dir, name+".log"), b, 0o644)
}

func (m *Mesh) collectJournal(ctx context.Context, dir, node string) error {
	entries, err := m.Journal(ctx, node)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, e := range entries {
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, node+".jsonl"), b.Bytes(), 0o644)
}

func (m *Mesh) collectEvents(ctx context.Context, path string) error {
	l, err := m.kube.CoreV1().Events(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("events of %s: %w", m.Namespace, err)
	}
	slices.SortStableFunc(l.Items, func(a, b corev1.Event) int { return when(a).Time.Compare(when(b).Time) })
	var b strings.Builder
	for _, e := range l.Items {
		fmt.Fprintf(&b, "%s %s %s %s/%s: %s (%d times)\n", when(e).UTC().Format("15:04:05"), e.Type, e.Reason,
			strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, e.Message, max(e.Count, 1))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func when(e corev1.Event) metav1.Time {
	if e.LastTimestamp.IsZero() {
		return metav1.Time{Time: e.EventTime.Time}
	}
	return e.LastTimestamp
}
