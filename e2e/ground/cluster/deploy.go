package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/e2e-framework/klient/decoder"
	"sigs.k8s.io/e2e-framework/klient/k8s"
	"sigs.k8s.io/e2e-framework/klient/wait"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/manifests"
)

const (
	chaosNamespace = "chaos-mesh"
	webhookService = "chaos-mesh-controller-manager"
	prometheus     = "monitoring/prometheus:9090"
	poll           = 500 * time.Millisecond
)

// deploy applies the system's manifests and waits until all of it works.
func (c *Cluster) deploy(ctx context.Context, detail func(string, ...any)) error {
	detail("certificates")
	ca, err := newWebhookCA(webhookService, chaosNamespace)
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: chaosNamespace}}
	if err := c.Client.Resources().Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	create := decoder.CreateHandler(c.Client.Resources())
	handle := func(ctx context.Context, object k8s.Object) error {
		detail("%T %s", object, object.GetName())
		ca.fill(object)
		if class, ok := object.(*storagev1.StorageClass); ok {
			return takePlace(ctx, c.Client.Resources().GetControllerRuntimeClient(), class)
		}
		if err := create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("%s %s: %w", object.GetObjectKind().GroupVersionKind().Kind, object.GetName(), err)
		}
		return nil
	}
	// metrics-server first: it is ready no sooner than it has measured twice.
	for _, pattern := range []string{"metrics-server/*.yaml", "volumes/*.yaml", "prometheus/*.yaml", "chaos-mesh/*.yaml"} {
		if err := decoder.DecodeEachFile(ctx, manifests.System, pattern, handle); err != nil {
			return fmt.Errorf("deploy %s: %w", pattern, err)
		}
	}
	return c.waitSystem(ctx, detail)
}

// takePlace makes a StorageClass, in the place of one of its name: kind has made one, and what makes a class's volumes cannot be changed.
func takePlace(ctx context.Context, c client.Client, class *storagev1.StorageClass) error {
	err := c.Create(ctx, class)
	if apierrors.IsAlreadyExists(err) {
		if err = client.IgnoreNotFound(c.Delete(ctx, class)); err == nil {
			err = c.Create(ctx, class)
		}
	}
	if err != nil {
		return fmt.Errorf("StorageClass %s: %w", class.Name, err)
	}
	return nil
}

// waitSystem waits until what was deployed is available.
func (c *Cluster) waitSystem(ctx context.Context, detail func(string, ...any)) error {
	for _, w := range []struct {
		what  string
		ready func(context.Context) (bool, error)
	}{
		{"chaos-mesh/chaos-controller-manager", c.deployment(chaosNamespace, "chaos-controller-manager")},
		{"monitoring/prometheus", c.deployment("monitoring", "prometheus")},
		{"chaos-mesh/chaos-daemon", c.daemons(chaosNamespace, "chaos-daemon")},
		{"Chaos Mesh's webhooks", c.webhooks},
		{"kube-system/coredns", c.deployment("kube-system", "coredns")},
		{"kube-system/metrics-server", c.deployment("kube-system", "metrics-server")},
		{"volumes/volumes", c.daemons("volumes", "volumes")},
	} {
		detail("wait for %s", w.what)
		var last error
		err := wait.For(func(ctx context.Context) (bool, error) {
			done, err := w.ready(ctx)
			if ctx.Err() == nil { // at the deadline, what was wrong before it tells more
				last = err
			}
			return done, nil // the API server may be busy; the deadline decides
		}, wait.WithContext(ctx), wait.WithTimeout(systemTimeout), wait.WithInterval(poll), wait.WithImmediate())
		if err != nil {
			return fmt.Errorf("%s is not ready after %s: %w", w.what, systemTimeout, errors.Join(err, last))
		}
	}
	return nil
}

func (c *Cluster) deployment(namespace, name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		d := &appsv1.Deployment{}
		if err := c.Client.Resources().Get(ctx, name, namespace, d); err != nil {
			return false, err
		}
		return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= *d.Spec.Replicas, nil
	}
}

// daemons reports whether every worker runs a daemon.
func (c *Cluster) daemons(namespace, name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		d := &appsv1.DaemonSet{}
		if err := c.Client.Resources().Get(ctx, name, namespace, d); err != nil {
			return false, err
		}
		return d.Status.DesiredNumberScheduled > 0 && d.Status.NumberReady == d.Status.DesiredNumberScheduled, nil
	}
}

// webhooks reports whether Chaos Mesh admits an object, without making one.
func (c *Cluster) webhooks(ctx context.Context) (bool, error) {
	err := fault.Admitted(ctx, c.Client.Resources().GetControllerRuntimeClient())
	return err == nil, err
}

// fill puts the certificates into the chart's Secrets and webhooks.
func (ca *webhookCA) fill(object k8s.Object) {
	switch o := object.(type) {
	case *corev1.Secret:
		if o.Namespace == chaosNamespace {
			o.Data = map[string][]byte{"ca.crt": ca.certificate, "tls.crt": ca.serverCertificate, "tls.key": ca.serverKey}
		}
	case *admissionv1.MutatingWebhookConfiguration:
		for i := range o.Webhooks {
			o.Webhooks[i].ClientConfig.CABundle = ca.certificate
		}
	case *admissionv1.ValidatingWebhookConfiguration:
		for i := range o.Webhooks {
			o.Webhooks[i].ClientConfig.CABundle = ca.certificate
		}
	}
}
