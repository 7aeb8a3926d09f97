package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"
)

func TestWebhookCertificateVerifies(t *testing.T) {
	ca, err := newWebhookCA("webhook", "chaos-mesh")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(ca.serverCertificate, ca.serverKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.certificate)
	// This is the name under which the API server calls a webhook.
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "webhook.chaos-mesh.svc"}); err != nil {
		t.Error(err)
	}
	other, err := newWebhookCA("webhook", "chaos-mesh")
	if err != nil {
		t.Fatal(err)
	}
	if string(other.serverKey) == string(ca.serverKey) {
		t.Error("two deployments have the same key")
	}
}

func TestCertificatesAreFilledIn(t *testing.T) {
	ca := &webhookCA{certificate: []byte("ca"), serverCertificate: []byte("crt"), serverKey: []byte("key")}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: chaosNamespace}}
	hooks := &admissionv1.ValidatingWebhookConfiguration{Webhooks: make([]admissionv1.ValidatingWebhook, 2)}
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default"}}
	ca.fill(secret)
	ca.fill(hooks)
	ca.fill(foreign)
	if string(secret.Data["tls.key"]) != "key" || string(secret.Data["ca.crt"]) != "ca" {
		t.Errorf("secret %v", secret.Data)
	}
	if string(hooks.Webhooks[1].ClientConfig.CABundle) != "ca" {
		t.Error("a webhook has no CA bundle")
	}
	if foreign.Data != nil {
		t.Error("a Secret of another namespace was changed")
	}
}

func TestNodeScript(t *testing.T) {
	cni, err := cniConfig("10.244.1.0/24")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(cni) || !strings.Contains(string(cni), "10.244.1.0/24") {
		t.Errorf("CNI configuration %s", cni)
	}
	script := nodeScript(cni, map[string]string{"10.244.2.0/24": "172.18.0.3"})
	for _, want := range []string{"ip route replace 10.244.2.0/24 via 172.18.0.3", "-I FORWARD -d 10.96.0.0/16 -o eth0 -j REJECT", "-I OUTPUT", "system.slice CPUWeight=20", "kubelet.service CPUWeight=20"} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %q:\n%s", want, script)
		}
	}
}

func TestWriteConfig(t *testing.T) {
	project, dir := t.TempDir(), t.TempDir()
	source := filepath.Join(project, "kind-config.yaml")
	real, err := os.ReadFile("../../../kind-config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source, real, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := writeConfig(project, dir, "v9.9.9")
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config v1alpha4.Cluster
	if err := yaml.UnmarshalStrict(written, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Nodes) < 3 || !config.Networking.DisableDefaultCNI || !strings.Contains(string(written), "imageTag: v9.9.9") {
		t.Errorf("configuration:\n%s", written)
	}
	if err := os.WriteFile(source, []byte("kind: Cluster\nnodez: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := writeConfig(project, dir, ""); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "nodez") {
		t.Errorf("an unknown field: %v, want ErrUsage that names it", err)
	}
}

func TestUnreadableKubeconfig(t *testing.T) {
	if _, err := Up(t.Context(), Options{Kubeconfig: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, ErrUsage) {
		t.Errorf("Up = %v, want ErrUsage", err)
	}
}
