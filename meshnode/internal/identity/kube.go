package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Kube is a client of the few resources of the Kubernetes API that the CA
// needs.
type Kube struct {
	URL       string       // of the API server
	Client    *http.Client // trusts the API server's certificate
	TokenFile string       // our own service-account token, read again for every request
}

const (
	serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"
	kubeTimeout       = 10 * time.Second
	maxKubeAnswer     = 1 << 20
)

// InCluster returns a client for the cluster that this pod runs in, and the
// pod's namespace.
func InCluster() (k *Kube, namespace string, err error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, "", errors.New("not in a Kubernetes pod: KUBERNETES_SERVICE_HOST and _PORT are not set")
	}
	ca, err := os.ReadFile(filepath.Join(serviceAccountDir, "ca.crt"))
	if err != nil {
		return nil, "", fmt.Errorf("service account (automountServiceAccountToken has to be on): %w", err)
	}
	ns, err := os.ReadFile(filepath.Join(serviceAccountDir, "namespace"))
	if err != nil {
		return nil, "", fmt.Errorf("service account: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, "", errors.New("service account: ca.crt holds no certificate")
	}
	return &Kube{
		URL: "https://" + net.JoinHostPort(host, port),
		Client: &http.Client{Timeout: kubeTimeout, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		}},
		TokenFile: filepath.Join(serviceAccountDir, "token"),
	}, strings.TrimSpace(string(ns)), nil
}

// Pod is what a service-account token proves.
type Pod struct {
	Name           string
	Namespace      string
	ServiceAccount string
}

// ErrToken is the error of a token that proves nothing.
var ErrToken = errors.New("token refused")

type tokenReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token"`
		Audiences []string `json:"audiences"`
	} `json:"spec"`
	Status struct {
		Authenticated bool     `json:"authenticated"`
		Audiences     []string `json:"audiences"`
		Error         string   `json:"error"`
		User          struct {
			Username string              `json:"username"`
			Extra    map[string][]string `json:"extra"`
		} `json:"user"`
	} `json:"status"`
}

// podNameClaim carries the name of the pod that a token is bound to.
const podNameClaim = "authentication.kubernetes.io/pod-name"

// ReviewToken asks the API server which pod token is bound to. The error wraps
// ErrToken when the token is not valid for the audience or bound to no pod.
func (k *Kube) ReviewToken(ctx context.Context, token, audience string) (Pod, error) {
	var review tokenReview
	review.APIVersion, review.Kind = "authentication.k8s.io/v1", "TokenReview"
	review.Spec.Token, review.Spec.Audiences = token, []string{audience}
	code, err := k.do(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", &review, &review)
	if err != nil {
		return Pod{}, fmt.Errorf("token review: %w", err)
	}
	if code != http.StatusCreated && code != http.StatusOK {
		return Pod{}, fmt.Errorf("token review: the API server answered %d", code)
	}
	s := &review.Status
	if !s.Authenticated {
		return Pod{}, fmt.Errorf("%w: not authenticated %s", ErrToken, s.Error)
	}
	// A server that does not know audiences answers without them; the token
	// would then be good for anybody.
	if len(s.Audiences) != 1 || s.Audiences[0] != audience {
		return Pod{}, fmt.Errorf("%w: not for audience %s", ErrToken, audience)
	}
	parts := strings.Split(s.User.Username, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" {
		return Pod{}, fmt.Errorf("%w: %q is no service account", ErrToken, s.User.Username)
	}
	names := s.User.Extra[podNameClaim]
	if len(names) != 1 || names[0] == "" {
		return Pod{}, fmt.Errorf("%w: bound to no pod", ErrToken)
	}
	return Pod{Name: names[0], Namespace: parts[2], ServiceAccount: parts[3]}, nil
}

type configMap struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]string `json:"metadata"`
	Data       map[string]string `json:"data"`
}

// ConfigMap returns the data of a ConfigMap, nil if there is none.
func (k *Kube) ConfigMap(ctx context.Context, namespace, name string) (map[string]string, error) {
	var m struct {
		Data map[string]string `json:"data"`
	}
	code, err := k.do(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/configmaps/"+name, nil, &m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
	case code == http.StatusNotFound:
		return nil, nil
	case code != http.StatusOK:
		return nil, fmt.Errorf("ConfigMap %s/%s: the API server answered %d", namespace, name, code)
	}
	return m.Data, nil
}

// PutConfigMap creates the ConfigMap or replaces its data.
func (k *Kube) PutConfigMap(ctx context.Context, namespace, name string, data map[string]string) error {
	m := configMap{
		APIVersion: "v1", Kind: "ConfigMap",
		Metadata: map[string]string{"name": name, "namespace": namespace}, Data: data,
	}
	path := "/api/v1/namespaces/" + namespace + "/configmaps"
	code, err := k.do(ctx, http.MethodPut, path+"/"+name, &m, nil)
	if err == nil && code == http.StatusNotFound {
		code, err = k.do(ctx, http.MethodPost, path, &m, nil)
	}
	if err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
	}
	if code != http.StatusOK && code != http.StatusCreated {
		return fmt.Errorf("ConfigMap %s/%s: the API server answered %d", namespace, name, code)
	}
	return nil
}

// secret is what is read of a Secret, and what of it is changed.
type secret struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Data map[string][]byte `json:"data"`
}

// FillSecret gives a Secret that is there a key, unless the Secret has it. It makes no Secret
// and changes no key that has content. Of two that fill it at once one fails.
func (k *Kube) FillSecret(ctx context.Context, namespace, name, key string, content []byte) error {
	path := "/api/v1/namespaces/" + namespace + "/secrets/" + name
	var s secret
	code, err := k.do(ctx, http.MethodGet, path, nil, &s)
	if err == nil && code == http.StatusOK {
		if len(s.Data[key]) > 0 {
			return nil
		}
		s.Data = map[string][]byte{key: content}
		// With the version that was read: a change in between is a conflict.
		code, err = k.do(ctx, http.MethodPatch, path, &s, nil)
	}
	switch {
	case err != nil:
		return fmt.Errorf("secret %s/%s: %w", namespace, name, err)
	case code == http.StatusNotFound:
		return fmt.Errorf("secret %s/%s is not there: it comes with the mesh's manifests", namespace, name)
	case code != http.StatusOK:
		return fmt.Errorf("secret %s/%s: the API server answered %d", namespace, name, code)
	}
	return nil
}

// do sends in, if not nil, as JSON and decodes a successful answer into out, if not nil. What is
// patched is merged (RFC 7396).
func (k *Kube) do(ctx context.Context, method, path string, in, out any) (code int, err error) {
	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return 0, err
		}
	}
	token, err := os.ReadFile(k.TokenFile)
	if err != nil {
		return 0, fmt.Errorf("own token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, k.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := k.Client.Do(req)
	if err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxKubeAnswer))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err == nil && out != nil && resp.StatusCode/100 == 2 {
		err = json.Unmarshal(answer, out)
	}
	return resp.StatusCode, err
}
