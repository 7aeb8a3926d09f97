package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

const (
	// Container is the name of the ephemeral container.
	Container = "outside-probe"

	pollEvery   = 250 * time.Millisecond
	reopenAfter = 500 * time.Millisecond
)

// Probes are running probers and the View that they feed.
type Probes struct {
	*View
	stop context.CancelFunc
	done sync.WaitGroup
}

// Attach puts a prober, of this image, into each pod and follows it. It returns when all of
// them run; what they see is in the View soon after. Close ends the following;
// the probers end with their pods, as ephemeral containers do.
func Attach(ctx context.Context, k kubernetes.Interface, image string, pods []corev1.Pod) (*Probes, error) {
	if image == "" {
		return nil, errors.New("probers need an image")
	}
	var names []string
	for _, p := range pods {
		if p.Status.PodIP == "" {
			return nil, fmt.Errorf("pod %s has no address yet: wait until it is ready", p.Name)
		}
		names = append(names, p.Name)
	}
	round := roundOf(pods)
	for _, p := range pods {
		if err := inject(ctx, k, p, ephemeral(image, p, pods, round)); err != nil {
			return nil, fmt.Errorf("put a prober into pod %s: %w", p.Name, err)
		}
	}
	for _, p := range pods {
		if err := waitRunning(ctx, k, p, nameOf(round), image); err != nil {
			return nil, err
		}
	}
	followCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	probes := &Probes{View: NewView(names), stop: stop}
	for _, p := range pods {
		probes.done.Go(func() { probes.follow(followCtx, k, p, nameOf(round)) })
	}
	return probes, nil
}

// Read returns what probers in pods have said in their logs, which are over.
func Read(pods []string, logs ...io.Reader) *Probes {
	p := &Probes{View: NewView(pods), stop: func() {}}
	for _, l := range logs {
		p.read(l)
	}
	return p
}

// Close stops following the probers.
func (p *Probes) Close() {
	p.stop()
	p.done.Wait()
}

// nameOf is the name of the probers of a round: the first, or one after pods were replaced.
func nameOf(round int) string {
	if round == 0 {
		return Container
	}
	return Container + "-" + strconv.Itoa(round+1)
}

// roundOf is the first round whose probers, where there are any, probe these pods. Those of
// an earlier one do not know the address of a pod that has come since, and cannot be taken
// out of their pods: the next have a port of their own.
func roundOf(pods []corev1.Pod) int {
	for round := 0; ; round++ {
		if !slices.ContainsFunc(pods, func(p corev1.Pod) bool {
			return slices.ContainsFunc(p.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool {
				return c.Name == nameOf(round) && !slices.Equal(c.Args, arguments(p, pods, round))
			})
		}) {
			return round
		}
	}
}

func inject(ctx context.Context, k kubernetes.Interface, pod corev1.Pod, c corev1.EphemeralContainer) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := k.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, e := range current.Spec.EphemeralContainers {
			if e.Name == c.Name {
				return nil
			}
		}
		current.Spec.EphemeralContainers = append(current.Spec.EphemeralContainers, c)
		_, err = k.CoreV1().Pods(pod.Namespace).UpdateEphemeralContainers(ctx, pod.Name, current, metav1.UpdateOptions{})
		return err
	})
}

// arguments are those of a pod's prober.
func arguments(pod corev1.Pod, pods []corev1.Pod, round int) []string {
	var peers []string
	for _, p := range pods {
		if p.Name != pod.Name {
			peers = append(peers, p.Name+"="+p.Status.PodIP)
		}
	}
	args := []string{"-pod", pod.Name, "-peers", strings.Join(peers, ",")}
	if round > 0 {
		args = append(args, "-port", strconv.Itoa(echo.Port+round))
	}
	return args
}

// ephemeral is the prober's container: no privilege at all.
func ephemeral(image string, pod corev1.Pod, pods []corev1.Pod, round int) corev1.EphemeralContainer {
	yes, no, nobody := true, false, int64(65532)
	return corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name:            nameOf(round),
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            arguments(pod, pods, round),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no,
			ReadOnlyRootFilesystem:   &yes,
			RunAsNonRoot:             &yes,
			RunAsUser:                &nobody,
			RunAsGroup:               &nobody,
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}}
}

func waitRunning(ctx context.Context, k kubernetes.Interface, pod corev1.Pod, container, image string) error {
	state := "not started"
	err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		current, err := k.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			state = err.Error()
			return false, nil
		}
		for _, s := range current.Status.EphemeralContainerStatuses {
			switch {
			case s.Name != container:
			case s.State.Running != nil:
				return true, nil
			case s.State.Waiting != nil:
				state = s.State.Waiting.Reason + " " + s.State.Waiting.Message
			case s.State.Terminated != nil:
				return false, fmt.Errorf("it ended with code %d: %s", s.State.Terminated.ExitCode, s.State.Terminated.Message)
			}
		}
		return false, nil
	})
	if wait.Interrupted(err) {
		err = errors.New("not running in time: " + state)
	}
	if err != nil {
		return fmt.Errorf("prober of pod %s (image %s): %w", pod.Name, image, err)
	}
	return nil
}

// follow reads a prober's log until the context ends. A stream that breaks is
// opened again from the beginning: the View ignores what it knows. A prober
// that cannot be read falls silent in the View, which then proves nothing.
func (p *Probes) follow(ctx context.Context, k kubernetes.Interface, pod corev1.Pod, container string) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		stream, err := k.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name,
			&corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
		if err != nil {
			return
		}
		defer stream.Close()
		p.read(stream)
	}, reopenAfter)
}

func (p *Probes) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		var l echo.Line
		if json.Unmarshal(s.Bytes(), &l) == nil { // anything else is a message of the prober's end
			p.Apply(l)
		}
	}
}
