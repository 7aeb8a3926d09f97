package identity

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestFormerRoots: an authority that replaces another's trust bundle keeps the roots that
// were in it, so that what was signed under them can be checked by who starts later.
func TestFormerRoots(t *testing.T) {
	e := newEnrolment(t)
	var roots []*PublicKey
	var first *Certificate
	for i := range 3 {
		a := testAuthority(t)
		if i == 0 {
			a = e.authority
		}
		e.ca.cfg.Authority = a
		for range 2 { // an authority that restarts with its key is no new root
			if err := e.ca.Publish(t.Context(), e.kube); err != nil {
				t.Fatal(err)
			}
		}
		roots = append([]*PublicKey{a.Trust().Root}, roots...)
		if first == nil {
			n, err := a.NewNode("mesh-node-a-0", "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			first = n.Credential().Certificate
		}
	}
	dir := t.TempDir()
	for name, content := range e.api.data {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust, err := LoadTrust(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !trust.Root.Equal(roots[0]) || len(trust.Former) != 2 || !trust.Former[0].Equal(roots[1]) || !trust.Former[1].Equal(roots[2]) {
		t.Fatalf("%d former roots, or in another order", len(trust.Former))
	}
	if err := first.VerifyIssuer(append([]*PublicKey{trust.Root}, trust.Former...)...); err != nil {
		t.Errorf("of the first root: %v", err)
	}
	if err := first.Verify(trust.Root, time.Now()); !errors.Is(err, ErrForged) {
		t.Errorf("a session under a former root: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, TrustFormerFile), []byte(e.api.data[TrustAPICAFile]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTrust(dir); !errors.Is(err, ErrKey) {
		t.Errorf("a former root that is none: %v", err)
	}
}

// TestPublishKeepsWhatItCannotRead: who cannot see the former roots does not throw them away.
func TestPublishKeepsWhatItCannotRead(t *testing.T) {
	e := newEnrolment(t)
	if err := e.ca.Publish(t.Context(), e.kube); err != nil {
		t.Fatal(err)
	}
	before := e.api.data[TrustRootFile]
	e.ca.cfg.Authority = testAuthority(t)
	e.api.data[TrustFormerFile] = "-----BEGIN X-----\n-----END X-----\n"
	if err := e.ca.Publish(t.Context(), e.kube); err == nil || e.api.data[TrustRootFile] != before {
		t.Errorf("published over what it could not read: %v", err)
	}
	e.api.data = map[string]string{"other": "made by somebody"}
	if err := e.ca.Publish(t.Context(), e.kube); err != nil || e.api.data[TrustRootFile] == "" {
		t.Errorf("over a ConfigMap without a root: %v", err)
	}
}

func TestFormerRootsAreBounded(t *testing.T) {
	n, err := testAuthority(t).NewNode("mesh-node-a-0", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	last := n.Trust().Root
	for range maxFormer + 3 {
		last = GenerateKey().Public()
		n.Update(n.Credential(), &Trust{Root: GenerateKey().Public(), Former: []*PublicKey{last}})
	}
	if got := n.Trust().Former; len(got) != maxFormer || !got[0].Equal(last) {
		t.Errorf("%d former roots", len(got))
	}
	if roots, err := ParseFormer([]byte(encodeFormer(n.Trust().Former))); err != nil || len(roots) != maxFormer {
		t.Errorf("%d survive their file, %v", len(roots), err)
	}
}

// TestScribe: for a while after a change of the root, what others keep is signed so that
// those can check it who do not know the new root yet; renewals change the signer at once.
func TestScribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := testAuthority(t), testAuthority(t)
		node := func(a *Authority) *Node {
			n, err := a.NewNode("mesh-node-a-0", "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		n, renewed, fresh := node(a), node(a), node(b)
		n.Update(renewed.Credential(), renewed.Trust())
		if n.Scribe() != renewed.Credential() {
			t.Error("after a renewal the former credential signs")
		}
		n.Update(fresh.Credential(), fresh.Trust())
		if n.Scribe() != renewed.Credential() || n.Credential() != fresh.Credential() {
			t.Error("right after the change the new credential signs")
		}
		time.Sleep(formerSigns)
		if n.Scribe() != fresh.Credential() {
			t.Error("the former credential signs for ever")
		}
		if f := n.Trust().Former; len(f) != 1 || !f[0].Equal(renewed.Trust().Root) {
			t.Error("the former root is forgotten")
		}
	})
}
