package mesh

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// forward opens a way to a port of a pod and returns its near end, what closes it, and what
// tells that it is closed. It goes through the API server and the kubelet into the pod's
// network namespace, so it works while the pod is cut from its peers. To open it takes no
// longer than ctx.
func (m *Mesh) forward(ctx context.Context, pod string, port int) (addr string, hangUp context.CancelFunc, closed <-chan struct{}, err error) {
	failed := func(err error) (string, context.CancelFunc, <-chan struct{}, error) {
		return "", nil, nil, fmt.Errorf("forward to port %d of %s: %w", port, pod, err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(m.config)
	if err != nil {
		return failed(err)
	}
	url := m.kube.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(m.Namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	life, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	ready := make(chan struct{})
	var complaints strings.Builder
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(port)},
		life.Done(), ready, io.Discard, &complaints)
	if err != nil {
		hangUp()
		return failed(err)
	}
	ended := make(chan struct{})
	var endedBy error
	go func() {
		defer close(ended)
		endedBy = f.ForwardPorts()
	}()
	select {
	case <-ready:
	case <-ended:
		hangUp()
		return failed(errors.Join(endedBy, ctx.Err()))
	case <-ctx.Done():
		hangUp()
		return failed(ctx.Err())
	}
	ports, err := f.GetPorts()
	if err != nil {
		hangUp()
		return failed(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), hangUp, ended, nil
}

// trust returns the certificate authority of the nodes' client API, as the
// mesh's CA has published it.
func (m *Mesh) trust(ctx context.Context) (*x509.CertPool, error) {
	bundle, err := m.kube.CoreV1().ConfigMaps(m.Namespace).Get(ctx, trustMap, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("trust bundle of the mesh: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(bundle.Data[trustAPICA])) {
		return nil, fmt.Errorf("ConfigMap %s: %s holds no certificate", trustMap, trustAPICA)
	}
	return pool, nil
}
