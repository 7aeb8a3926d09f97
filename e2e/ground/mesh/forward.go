package mesh

import (
	"context"
	"crypto/tls"
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

// forward opens a way to a port of a pod and returns its near end. It goes
// through the API server and the kubelet into the pod's network namespace, so
// it works while the pod is cut from its peers. The way lasts as long as ctx.
func (m *Mesh) forward(ctx context.Context, pod string, port int) (string, error) {
	transport, upgrader, err := spdy.RoundTripperFor(m.config)
	if err != nil {
		return "", fmt.Errorf("forward to %s: %w", pod, err)
	}
	url := m.kube.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(m.Namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	ready := make(chan struct{})
	var complaints strings.Builder
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + strconv.Itoa(port)},
		ctx.Done(), ready, io.Discard, &complaints)
	if err != nil {
		return "", fmt.Errorf("forward to %s: %w", pod, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return "", fmt.Errorf("forward to port %d of %s: %w", port, pod, errors.Join(err, ctx.Err()))
	case <-ctx.Done():
		return "", fmt.Errorf("forward to port %d of %s: %w", port, pod, ctx.Err())
	}
	ports, err := f.GetPorts()
	if err != nil {
		return "", fmt.Errorf("forward to %s: %w", pod, err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), nil
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

// secure returns a client of a node's API that checks the node's certificate
// against its name.
func (m *Mesh) secure(ctx context.Context, node string) (*http.Client, error) {
	pool, err := m.trust(ctx)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: node, MinVersion: tls.VersionTLS13},
	}}, nil
}
