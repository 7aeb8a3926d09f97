package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
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

// TestFormerRootsAreBounded: the newest are kept, in what a ConfigMap holds, and the
// authority says when it drops one.
func TestFormerRootsAreBounded(t *testing.T) {
	e := newEnrolment(t)
	if err := e.ca.Publish(t.Context(), e.kube); err != nil {
		t.Fatal(err)
	}
	var former []*PublicKey
	for range maxFormer - 1 {
		former = append(former, GenerateKey().Public())
	}
	e.api.data[TrustFormerFile] = encodeFormer(former)
	warned := 0
	e.ca.cfg.Logger = slog.New(hook{slog.DiscardHandler, func() { warned++ }})
	for i := range 3 {
		former = append([]*PublicKey{e.ca.cfg.Authority.Trust().Root}, former...)
		former = former[:min(len(former), maxFormer)]
		e.ca.cfg.Authority = testAuthority(t)
		if err := e.ca.Publish(t.Context(), e.kube); err != nil {
			t.Fatal(err)
		}
		got, err := ParseFormer([]byte(e.api.data[TrustFormerFile]))
		if err != nil || !slices.EqualFunc(got, former, (*PublicKey).Equal) {
			t.Errorf("%d former roots, want %d, or others: %v", len(got), len(former), err)
		}
		if warned != i {
			t.Errorf("%d warnings after %d roots were dropped", warned, i)
		}
	}
	if b, err := json.Marshal(e.api.data); err != nil || len(b) > 900<<10 {
		t.Errorf("the ConfigMap takes %d bytes, %v", len(b), err)
	}
}

// TestFormerRootTakenAway: who takes a root out of the bundle on disk takes it from the
// nodes that run, without a new certificate for them; and who puts one in gives it to them.
func TestFormerRootTakenAway(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := testAuthority(t)
		n, err := a.NewNode("mesh-node-a-0", "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		credential := n.Credential()
		e := &Enroller{Name: "mesh-node-a-0", TrustDir: writeTrust(t, a)}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { e.KeepRenewed(ctx, n) })
		defer wg.Wait()
		defer cancel()
		expect := func(what string, roots ...*PublicKey) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(e.TrustDir, TrustFormerFile), []byte(encodeFormer(roots)), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			first := n.Trust()
			if !slices.EqualFunc(first.Former, roots, (*PublicKey).Equal) {
				t.Errorf("%s: %d former roots, or others", what, len(first.Former))
			}
			if time.Sleep(time.Minute); n.Trust() != first {
				t.Errorf("%s: the trust changes though the bundle does not", what)
			}
		}
		one, other := GenerateKey().Public(), GenerateKey().Public()
		expect("put in", one, other)
		expect("one taken out", other)
		expect("all taken out")
		if n.Credential() != credential {
			t.Error("the node has enrolled anew")
		}
	})
}

// TestLastRoot: a bundle with a new root says whether the last one still counts; if it knows
// of no former roots, the last one counts until no sound node signs under it.
func TestLastRoot(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for what, test := range map[string]struct {
			former       []*PublicKey
			before, then int
		}{
			"left out":         {[]*PublicKey{}, 0, 0},
			"another in there": {[]*PublicKey{GenerateKey().Public()}, 1, 1},
			"not known":        {nil, 1, 0},
		} {
			n, err := testAuthority(t).NewNode("mesh-node-a-0", "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			last := n.Trust().Root
			fresh, err := testAuthority(t).NewNode("mesh-node-a-0", "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			bundle := *fresh.Trust()
			bundle.Former = test.former
			n.Update(fresh.Credential(), &bundle)
			n.Adopt(&bundle)
			if f := n.Trust().Former; len(f) != test.before || what == "not known" && !f[0].Equal(last) {
				t.Errorf("%s: at first %d former roots, or others", what, len(f))
			}
			time.Sleep(formerSigns)
			n.Adopt(&bundle)
			if f := n.Trust().Former; len(f) != test.then {
				t.Errorf("%s: then %d former roots", what, len(f))
			}
		}
	})
}

// TestManyFormerRoots: whose root is not among many is found out without a verification, and
// who borrows the name of a root is no stranger but a forger.
func TestManyFormerRoots(t *testing.T) {
	a := testAuthority(t)
	n, err := testAuthority(t).NewNode("mesh-node-a-0", "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := n.Credential().Certificate
	if err := c.VerifyIssuer(a.Trust().Root); !errors.Is(err, ErrForeign) || !errors.Is(err, ErrForged) {
		t.Errorf("of another root: %v", err)
	}
	b := bytes.Clone(c.Bytes())
	issuer := a.Trust().Root.ID()
	copy(b[len(certMagic):], issuer[:])
	borrowed, err := ParseCertificate(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := borrowed.VerifyIssuer(n.Trust().Root, a.Trust().Root); !errors.Is(err, ErrForged) || errors.Is(err, ErrForeign) {
		t.Errorf("that names a root which has not signed it: %v", err)
	}
	if err := c.VerifyIssuer(a.Trust().Root, n.Trust().Root); err != nil {
		t.Errorf("of the second root: %v", err)
	}
}

// TestScribe: for a while after a change of the root, what others keep is signed so that
// those can check it who do not know the new root yet; renewals change the signer at once.
func TestScribe(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, b := testAuthority(t), testAuthority(t)
		node := func(a *Authority) *Node {
			n, err := a.NewNode("mesh-node-a-0", "", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		n, renewed, fresh := node(a), node(a), node(b)
		trust := n.Trust()
		n.Update(renewed.Credential(), renewed.Trust())
		if n.Trust() != trust {
			t.Error("a renewal counts as a change of the trust")
		}
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
