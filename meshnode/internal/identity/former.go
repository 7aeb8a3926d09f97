package identity

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// TrustFormerFile holds, newest first, the roots that the mesh had before. They vouch for
// no session and no renewal, only for what outlives keys: who signed a record. Who takes a
// root out of the file takes that from it, too.
const TrustFormerFile = "former.pem"

const (
	// maxFormer bounds the former roots that are kept: a ConfigMap holds 1 MiB, and each
	// root takes 2.7 KiB of it.
	maxFormer = 256
	// formerSigns is how long a node goes on to sign records with its former credential
	// when the mesh has a new root: longer than the kubelets take to show the new trust
	// bundle to all pods, which is a sync period and a cache's delay, some 2 minutes.
	formerSigns = 5 * time.Minute
)

// withFormer returns roots, newest first, in which each stands once and root not at all.
func withFormer(root *PublicKey, former ...*PublicKey) []*PublicKey {
	known, roots := map[[PublicKeySize]byte]bool{root.raw: true}, []*PublicKey(nil)
	for _, f := range former {
		if !known[f.raw] && len(roots) < maxFormer {
			known[f.raw] = true
			roots = append(roots, f)
		}
	}
	return roots
}

func encodeFormer(roots []*PublicKey) string {
	var b []byte
	for _, r := range roots {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: pemRoot, Bytes: r.raw[:]})...)
	}
	return string(b)
}

// ParseFormer decodes TrustFormerFile. It returns no nil slice without an error: an empty
// file says that there are none.
func ParseFormer(b []byte) ([]*PublicKey, error) {
	roots := []*PublicKey{}
	for len(roots) < maxFormer {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		root, err := ParsePublicKey(block.Bytes)
		if err != nil || block.Type != pemRoot {
			return nil, fmt.Errorf("trust bundle: %s: %q of %d bytes: %w", TrustFormerFile, block.Type, len(block.Bytes), ErrKey)
		}
		roots, b = append(roots, root), rest
	}
	return roots, nil
}

func loadFormer(dir string) ([]*PublicKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, TrustFormerFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	return ParseFormer(b)
}

// bundle returns the trust bundle to publish: the authority's, and the roots of the bundle
// that it replaces.
func (ca *CA) bundle(ctx context.Context, k *Kube) (map[string]string, error) {
	files := ca.cfg.Authority.TrustFiles()
	files[TrustFormerFile] = "" // and not absent: there are none
	old, err := k.ConfigMap(ctx, ca.cfg.Namespace, TrustConfigMap)
	if err != nil || old[TrustRootFile] == "" {
		return files, err // none, or one that somebody else has made
	}
	former, err := ParseFormer([]byte(old[TrustFormerFile]))
	if err != nil {
		return nil, err
	}
	last, err := ParseTrust([]byte(old[TrustRootFile]), []byte(old[TrustAPICAFile]))
	if err != nil {
		return nil, fmt.Errorf("%w: delete the ConfigMap if records of former roots do not matter", err)
	}
	roots := withFormer(ca.cfg.Authority.root.public, append([]*PublicKey{last.Root}, former...)...)
	if n := len(former); n == maxFormer && !roots[len(roots)-1].Equal(former[n-1]) {
		ca.cfg.Logger.Warn("the trust bundle is full, its oldest root is dropped: nodes without a disk take in no records signed under it",
			"roots", maxFormer, "dropped", fmt.Sprintf("%x", former[n-1].ID()))
	}
	files[TrustFormerFile] = encodeFormer(roots)
	return files, nil
}

// VerifyIssuer checks that one of roots signed c, whenever c is valid. The error wraps
// ErrForged: it is ErrForeign if c names none of them as its issuer. That costs no
// verification.
func (c *Certificate) VerifyIssuer(roots ...*PublicKey) error {
	signed, err := len(c.raw)-SignatureSize, ErrForeign
	for _, r := range roots {
		if r.ID() != c.Issuer {
			continue
		}
		if r.Verify(ContextCertificate, c.raw[:signed], c.raw[signed:]) {
			return nil
		}
		err = ErrForged
	}
	return fmt.Errorf("%w: %s", err, c.Name)
}

// succession is how a node gets from one root to the next.
type succession struct {
	former *Credential // signs meanwhile
	root   *PublicKey  // the former one
	until  time.Time   // with a monotonic reading
}

// current returns the succession that is under way, nil if none is.
func (n *Node) current() *succession {
	if s := n.succession.Load(); s != nil && time.Now().Before(s.until) {
		return s
	}
	return nil
}

// Scribe returns the credential that signs what others keep. For a while after the root has
// changed it is the former one, since not all of them know the new root yet.
func (n *Node) Scribe() *Credential {
	if s := n.current(); s != nil {
		return s.former
	}
	return n.Credential()
}

// Adopt replaces the trust bundle by a newer one with the same root. A bundle that says
// which the former roots are has the last word. One that does not, Former being nil, is of
// somebody who does not keep them: then the last root is one until all nodes sign under the
// new one.
func (n *Node) Adopt(t *Trust) {
	former := withFormer(t.Root, t.Former...)
	if s := n.current(); s != nil && t.Former == nil {
		former = withFormer(t.Root, s.root)
	}
	adopted := &Trust{Root: t.Root, APICA: t.APICA, Former: former}
	if old := n.Trust(); old == nil || !old.equal(adopted) {
		n.trust.Store(adopted)
	}
}

func (t *Trust) equal(o *Trust) bool {
	return t.Root.Equal(o.Root) && t.APICA.Equal(o.APICA) && slices.EqualFunc(t.Former, o.Former, (*PublicKey).Equal)
}
