package identity

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func testCertificate(t testing.TB, a *Authority, name, zone string, notBefore, notAfter time.Time) *Certificate {
	t.Helper()
	c, err := a.Issue(name, zone, GenerateKey().Public(), notBefore, notAfter)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificateRoundTrip(t *testing.T) {
	a, now := testAuthority(t), time.Now()
	c := testCertificate(t, a, "mesh-node-a-0", "zone-a", now, now.Add(time.Hour))
	got, err := ParseCertificate(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "mesh-node-a-0" || got.Zone != "zone-a" || !got.PublicKey.Equal(c.PublicKey) || got.Serial != c.Serial {
		t.Errorf("decoded %+v", got)
	}
	if !got.NotBefore.Equal(now.Truncate(time.Second)) || !got.NotAfter.Equal(now.Add(time.Hour).Truncate(time.Second)) {
		t.Errorf("valid %v to %v, want %v to an hour later", got.NotBefore, got.NotAfter, now)
	}
	if err := got.Verify(a.Trust().Root, now); err != nil {
		t.Error(err)
	}
}

func TestCertificateTimes(t *testing.T) {
	a, now := testAuthority(t), time.Now()
	c := testCertificate(t, a, "n", "", now, now.Add(2*time.Hour))
	for _, test := range []struct {
		name string
		at   time.Duration
		want error
	}{
		{"skewed clock behind", -ClockSkew + time.Second, nil},
		{"too early", -ClockSkew - 2*time.Second, ErrNotYetValid},
		{"at its end", 2 * time.Hour, nil},
		{"skewed clock ahead", 2*time.Hour + ClockSkew - 2*time.Second, nil},
		{"expired", 2*time.Hour + ClockSkew + 2*time.Second, ErrExpired},
	} {
		if err := c.Verify(a.Trust().Root, now.Add(test.at)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestCertificateForgeries(t *testing.T) {
	a, now := testAuthority(t), time.Now()
	c := testCertificate(t, a, "mesh-node-a-0", "zone-a", now, now.Add(time.Hour))
	if err := c.Verify(testAuthority(t).Trust().Root, now); !errors.Is(err, ErrForged) {
		t.Errorf("foreign root: %v, want ErrForged", err)
	}
	// Every field before the key bit by bit, then samples of key and signature.
	var bits []int
	for i := range certFixed + 2 + len(c.Name) + len(c.Zone) {
		for b := range 8 {
			bits = append(bits, 8*i+b)
		}
	}
	for i := certFixed * 8; i < len(c.Bytes())*8; i += 1009 {
		bits = append(bits, i)
	}
	for _, bit := range bits {
		forged := bytes.Clone(c.Bytes())
		forged[bit/8] ^= 1 << (bit % 8)
		got, err := ParseCertificate(forged)
		if err != nil {
			continue // the form alone gives it away
		}
		if got.Verify(a.Trust().Root, now) == nil {
			t.Errorf("a certificate with bit %d flipped is accepted", bit)
		}
	}
	// A signature made for another use does not certify.
	body := c.Bytes()[:len(c.Bytes())-SignatureSize]
	forged, err := ParseCertificate(append(bytes.Clone(body), a.root.Sign(ContextAttestation, body)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := forged.Verify(a.Trust().Root, now); !errors.Is(err, ErrForged) {
		t.Errorf("signature of another context: %v, want ErrForged", err)
	}
}

func TestParseCertificateRejects(t *testing.T) {
	a, now := testAuthority(t), time.Now()
	good := testCertificate(t, a, "n", "z", now, now.Add(time.Hour)).Bytes()
	for name, b := range map[string][]byte{
		"empty":          nil,
		"magic":          append([]byte("x509"), good[4:]...),
		"one byte less":  good[:len(good)-1],
		"one byte more":  append(bytes.Clone(good), 0),
		"name too long":  append(append(bytes.Clone(good[:certFixed]), 200), good[certFixed+1:]...),
		"huge":           make([]byte, MaxCertificateSize+1),
		"upper-case":     append(append(bytes.Clone(good[:certFixed]), 1, 'N'), good[certFixed+2:]...),
		"empty name":     append(append(bytes.Clone(good[:certFixed]), 0), good[certFixed+2:]...),
		"ends too early": append(append(bytes.Clone(good[:5+16+16]), bytes.Repeat([]byte{0}, 16)...), good[certFixed:]...),
	} {
		if _, err := ParseCertificate(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	for _, name := range []string{"", "-a", "a-", "A", "a.b", "a_b", strings.Repeat("a", 64)} {
		if _, err := a.Issue(name, "", GenerateKey().Public(), now, now.Add(time.Hour)); err == nil {
			t.Errorf("a certificate for the name %q was issued", name)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	a, now := testAuthority(f), time.Now()
	good := testCertificate(f, a, "mesh-node-a-0", "zone-a", now, now.Add(time.Hour)).Bytes()
	f.Add(good)
	f.Add(good[:certFixed])
	f.Add([]byte("x4mc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCertificate(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if !bytes.Equal(c.Bytes(), b) {
			t.Fatal("accepted bytes are not the certificate's encoding")
		}
		if !bytes.Equal(b, good) && bytes.Equal(b[:certFixed], good[:certFixed]) && c.Verify(a.Trust().Root, now) == nil {
			t.Fatal("a changed certificate verifies")
		}
	})
}

func TestAuthorityDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	first, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Trust().Root.Equal(again.Trust().Root) || !first.tls.Equal(again.tls) {
		t.Error("a restart changed the root")
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v %v, want mode 0700", info.Mode(), err)
	}
	for _, name := range []string{rootSeedFile, apiKeyFile, apiCertFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", name, info, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, rootSeedFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir); err == nil {
		t.Error("a lost root key was silently replaced")
	}
	if err := os.WriteFile(filepath.Join(dir, rootSeedFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir); !errors.Is(err, ErrKey) {
		t.Errorf("truncated root key: %v, want ErrKey", err)
	}
}

func TestTrustFiles(t *testing.T) {
	a := testAuthority(t)
	files := a.TrustFiles()
	trust, err := ParseTrust([]byte(files[TrustRootFile]), []byte(files[TrustAPICAFile]))
	if err != nil {
		t.Fatal(err)
	}
	if !trust.Root.Equal(a.Trust().Root) || !trust.APICA.Equal(a.Trust().APICA) {
		t.Error("the bundle does not survive its files")
	}
	if _, err := ParseTrust([]byte(files[TrustAPICAFile]), []byte(files[TrustAPICAFile])); err == nil {
		t.Error("a certificate passed for the mesh root")
	}
	if _, err := ParseTrust([]byte(files[TrustRootFile]), nil); err == nil {
		t.Error("an empty API CA was accepted")
	}
}
