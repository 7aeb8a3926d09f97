package identity

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answer is an HTTP server that always says the same.
type answer struct {
	code int
	body []byte
}

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.code, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// FuzzTokenReview: whatever the API server answers, a pod comes out only of an
// answer that says so for the right audience.
func FuzzTokenReview(f *testing.F) {
	token := filepath.Join(f.TempDir(), "token")
	if err := os.WriteFile(token, []byte("own"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Add(201, []byte(`{"kind":"TokenReview","status":`+goodStatus+`}`))
	f.Add(201, []byte(`{"status":{"authenticated":false,"error":"expired"}}`))
	f.Add(403, []byte(`{"kind":"Status","message":"forbidden"}`))
	f.Add(200, []byte(strings.Replace(`{"status":`+goodStatus+`}`, Audience, "other", 1)))
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		k := &Kube{URL: "http://api", Client: &http.Client{Transport: answer{code, body}}, TokenFile: token}
		pod, err := k.ReviewToken(context.Background(), "token", Audience)
		if err != nil {
			if pod != (Pod{}) {
				t.Errorf("%+v beside %v", pod, err)
			}
			return
		}
		var said tokenReview
		if json.Unmarshal(body, &said) != nil || !said.Status.Authenticated || code/100 != 2 || pod.Name == "" ||
			len(said.Status.Audiences) != 1 || said.Status.Audiences[0] != Audience ||
			said.Status.User.Username != "system:serviceaccount:"+pod.Namespace+":"+pod.ServiceAccount {
			t.Errorf("%d %s proves %+v", code, body, pod)
		}
	})
}

// FuzzEnrolResponse: no answer but the right one makes a credential.
func FuzzEnrolResponse(f *testing.F) {
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	now, later := time.Now(), time.Now().Add(24*time.Hour)
	key := GenerateKey()
	cert, err := a.Issue("n", "z", key.Public(), now, later)
	if err != nil {
		f.Fatal(err)
	}
	pair, err := a.ServerCertificate([]string{"n"}, now, later)
	if err != nil {
		f.Fatal(err)
	}
	tlsKey, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		f.Fatalf("TLS key %T", pair.PrivateKey)
	}
	good := EnrolResponse{cert.Bytes(), pair.Certificate[0]}
	b, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"certificate":"AAAA","tlsCertificate":"MAA="}`))
	e := &Enroller{Name: "n"}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r EnrolResponse
		if json.Unmarshal(b, &r) != nil {
			return
		}
		if _, _, err := e.check(&r, a.Trust(), key, tlsKey); err == nil && !bytes.Equal(r.Certificate, good.Certificate) {
			t.Errorf("a certificate that the root did not sign: %x", r.Certificate)
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	a, err := NewAuthority()
	if err != nil {
		f.Fatal(err)
	}
	files := a.TrustFiles()
	f.Add([]byte(files[TrustRootFile]), []byte(files[TrustAPICAFile]))
	f.Add([]byte(files[TrustAPICAFile]), []byte(files[TrustRootFile]))
	f.Fuzz(func(t *testing.T, root, api []byte) {
		trust, err := ParseTrust(root, api)
		if (trust == nil) != (err != nil) {
			t.Fatalf("%v, %v", trust, err)
		}
		if err != nil {
			return
		}
		again, err := ParsePublicKey(trust.Root.Bytes())
		if err != nil || !again.Equal(trust.Root) {
			t.Errorf("root key does not survive: %v", err)
		}
	})
}

// TestTrustBundleHoldsNoPrivateKey: what every pod can read is public.
func TestTrustBundleHoldsNoPrivateKey(t *testing.T) {
	e := newEnrolment(t)
	if err := e.ca.Publish(t.Context(), e.kube); err != nil {
		t.Fatal(err)
	}
	for name, content := range e.api.data {
		if strings.Contains(content, "PRIVATE") || strings.Contains(strings.ToLower(name), "private") {
			t.Errorf("%s holds a private key", name)
		}
	}
	if len(e.api.data) != 3 {
		t.Errorf("%d files are published", len(e.api.data))
	}
}
