package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
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
	cni, err := cniConfig(0, "10.244.1.0/24")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(cni) || !strings.Contains(string(cni), "10.244.1.0/24") {
		t.Errorf("CNI configuration %s", cni)
	}
	script := nodeScript(cni, []string{"10.244.1.0/24"}, map[string]string{"10.244.2.0/24": "172.18.0.3"})
	for _, want := range []string{"ip route replace 10.244.2.0/24 via 172.18.0.3", "-I FORWARD -d 10.96.0.0/16 -o eth0 -j REJECT", "-I OUTPUT", "system.slice CPUWeight=20", "kubelet.service CPUWeight=20"} {
		if !strings.Contains(script, want) {
			t.Errorf("the script lacks %q:\n%s", want, script)
		}
	}
}

// TestNetworkFamilies: a cluster of one family has nothing of the other, pods of both
// families have routes of both, and routes match families.
func TestNetworkFamilies(t *testing.T) {
	node := func(name string, addresses, cidrs []string) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: cidrs}}
		for _, a := range addresses {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: name})
		return n
	}
	v4, v6 := []string{"172.18.0.3", "10.244.2.0/24"}, []string{"fc00:1::3", "fd00:10:244:2::/64"}
	for _, test := range []struct {
		family          string
		addresses, pods []string
		have, lack      []string
		kind            v1alpha4.ClusterIPFamily
	}{
		{"ipv4", v4[:1], v4[1:], []string{"ip route replace 10.244.2.0/24 via 172.18.0.3", "\niptables "}, []string{"ip -6", "ip6tables"}, ""},
		{"ipv6", []string{v6[0], v4[0]}, v6[1:], []string{"ip -6 route replace fd00:10:244:2::/64 via fc00:1::3", "\nip6tables -w -I FORWARD -d fd00:10:96::/112"}, []string{"ip route", "\niptables"}, v1alpha4.IPv6Family},
		{"dual", []string{v4[0], v6[0]}, []string{v4[1], v6[1]}, []string{
			"ip route replace 10.244.2.0/24 via 172.18.0.3", "ip -6 route replace fd00:10:244:2::/64 via fc00:1::3", "\niptables ", "\nip6tables ",
		}, nil, v1alpha4.DualStackFamily},
	} {
		t.Run(test.family, func(t *testing.T) {
			nodes := []corev1.Node{node("self", test.addresses, test.pods), node("other", test.addresses, test.pods)}
			cni, err := cniConfig(1450, test.pods...)
			if err != nil {
				t.Fatal(err)
			}
			script := nodeScript(cni, test.pods, routesFrom("self", nodes))
			for _, want := range append(test.have, `"mtu":1450`) {
				if !strings.Contains(script, want) {
					t.Errorf("the script lacks %q:\n%s", want, script)
				}
			}
			for _, bad := range test.lack {
				if strings.Contains(script, bad) {
					t.Errorf("the script has %q:\n%s", bad, script)
				}
			}
			var c struct {
				Plugins []struct {
					IPAM struct{ Routes, Ranges []any }
				}
			}
			if err := json.Unmarshal(cni, &c); err != nil || len(c.Plugins[0].IPAM.Routes) != len(test.pods) || len(c.Plugins[0].IPAM.Ranges) != len(test.pods) {
				t.Errorf("%v: %s", err, cni)
			}
			var networking v1alpha4.Networking
			Network{Family: test.family}.apply(&networking)
			if networking.IPFamily != test.kind {
				t.Errorf("kind's ipFamily is %q, want %q", networking.IPFamily, test.kind)
			}
		})
	}
	for _, bad := range []Network{{Family: "ipv5"}, {MTU: 1279}, {MTU: -1}, {MTU: 1 << 16}} {
		if err := bad.Check(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	if _, err := Up(t.Context(), Options{Kubeconfig: "x", Network: Network{MTU: 1450}}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "MTU") {
		t.Errorf("an MTU for an existing cluster: %v", err)
	}
}

func TestFamiliesThatTheKernelDoesNotHaveAreRefused(t *testing.T) {
	was := inet6
	t.Cleanup(func() { inet6 = was })
	there := filepath.Join(t.TempDir(), "if_inet6")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for family, needs := range map[string]bool{"": false, "ipv4": false, "ipv6": true, "dual": true} {
		inet6 = there
		if err := (Network{Family: family}).Check(); err != nil {
			t.Errorf("%q, with IPv6: %v", family, err)
		}
		inet6 = there + ".none"
		err := (Network{Family: family}).Check()
		if (err != nil) != needs {
			t.Errorf("%q, without IPv6: %v", family, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "boot without ipv6.disable=1") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v, want one line that says what to do", family, err)
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
	path, err := writeConfig(project, dir, "v9.9.9", Network{})
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
	if _, err := writeConfig(project, dir, "", Network{}); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "nodez") {
		t.Errorf("an unknown field: %v, want ErrUsage that names it", err)
	}
}

// TestTheClassTakesThePlaceOfKinds: what makes a class's volumes cannot be changed, so the class that is there goes.
func TestTheClassTakesThePlaceOfKinds(t *testing.T) {
	ours := func() *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "standard"}, Provisioner: "ours"}
	}
	kinds := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "standard"}, Provisioner: "kubernetes.io/host-path"}
	others := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Provisioner: "others"}
	for name, there := range map[string][]client.Object{"none": {others}, "kind's": {others, kinds}, "ours": {others, ours()}} {
		c := fake.NewClientBuilder().WithObjects(there...).Build()
		if err := takePlace(t.Context(), c, ours()); err != nil {
			t.Errorf("%s is there: %v", name, err)
		}
		var all storagev1.StorageClassList
		if err := c.List(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		made := map[string]string{}
		for _, class := range all.Items {
			made[class.Name] = class.Provisioner
		}
		if want := map[string]string{"standard": "ours", "other": "others"}; !maps.Equal(made, want) {
			t.Errorf("%s is there: then there are %v, want %v", name, made, want)
		}
	}
	refuses := fake.NewClientBuilder().WithObjects(kinds).WithInterceptorFuncs(interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			return errors.New("denied")
		},
	}).Build()
	if err := takePlace(t.Context(), refuses, ours()); err == nil || !strings.Contains(err.Error(), "StorageClass standard: denied") {
		t.Errorf("a class that stays: %v", err)
	}
}

func TestUnreadableKubeconfig(t *testing.T) {
	if _, err := Up(t.Context(), Options{Kubeconfig: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, ErrUsage) {
		t.Errorf("Up = %v, want ErrUsage", err)
	}
}
