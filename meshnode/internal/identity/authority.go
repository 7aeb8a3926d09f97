package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority holds the mesh's root key, which signs the nodes' certificates, and
// the key of the API CA, which signs X.509 certificates for TLS.
type Authority struct {
	root *PrivateKey
	tls  *x509.Certificate
	key  *ecdsa.PrivateKey
}

// apiCALife is how long the API CA's certificate counts. It lives as long as
// the authority's directory, in a pod's memory.
const apiCALife = 10 * 365 * 24 * time.Hour

// NewAuthority makes an authority with fresh keys.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("API CA key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "x0tta6bl4 mesh API CA"},
		NotBefore:             now.Add(-ClockSkew),
		NotAfter:              now.Add(apiCALife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("API CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("API CA certificate: %w", err)
	}
	return &Authority{root: GenerateKey(), tls: cert, key: key}, nil
}

// The files of an authority's directory.
const (
	rootSeedFile = "root.seed"
	apiKeyFile   = "api-ca.key"
	apiCertFile  = "api-ca.crt"
)

// OpenAuthority reads the authority kept in dir, or makes one and keeps it
// there: the directory with mode 0700 and the files with 0600. A directory that
// holds only part of an authority is an error, so that a root key is never
// replaced by accident.
func OpenAuthority(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("authority directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("authority directory: %w", err)
	}
	a, err := openAuthority(root)
	if cerr := root.Close(); err == nil && cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("authority in %s: %w", filepath.Clean(dir), err)
	}
	return a, nil
}

func openAuthority(dir *os.Root) (*Authority, error) {
	var contents [3][]byte
	missing := 0
	for i, name := range []string{rootSeedFile, apiKeyFile, apiCertFile} {
		b, err := dir.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			missing++
			continue
		}
		if err != nil {
			return nil, err
		}
		contents[i] = b
	}
	switch missing {
	case 0:
		return decodeAuthority(contents[0], contents[1], contents[2])
	case 3:
		a, err := NewAuthority()
		if err != nil {
			return nil, err
		}
		return a, a.save(dir)
	}
	return nil, errors.New("some files are missing: restore them, or empty the directory for a new root key")
}

func decodeAuthority(seed, key, cert []byte) (*Authority, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("%w: %s has %d bytes, want %d", ErrKey, rootSeedFile, len(seed), SeedSize)
	}
	ec, err := x509.ParseECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, apiKeyFile, err)
	}
	ca, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", apiCertFile, err)
	}
	if pub, ok := ca.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(ec.Public()) {
		return nil, fmt.Errorf("%w: %s and %s do not belong together", ErrKey, apiKeyFile, apiCertFile)
	}
	return &Authority{root: NewKey([SeedSize]byte(seed)), tls: ca, key: ec}, nil
}

func (a *Authority) save(dir *os.Root) error {
	key, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return err
	}
	seed := a.root.Seed()
	for _, f := range []struct {
		name string
		b    []byte
	}{{rootSeedFile, seed[:]}, {apiKeyFile, key}, {apiCertFile, a.tls.Raw}} {
		if err := dir.WriteFile(f.name, f.b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Trust returns the trust bundle of the authority.
func (a *Authority) Trust() *Trust {
	pool := x509.NewCertPool()
	pool.AddCert(a.tls)
	return &Trust{Root: a.root.Public(), APICA: pool}
}

// The names of the trust bundle's files, as in the ConfigMap that carries it.
const (
	TrustRootFile  = "root.pem"   // the mesh root's ML-DSA-65 public key
	TrustAPICAFile = "api-ca.pem" // the X.509 certificate that signs the client API's
)

const pemRoot = "ML-DSA-65 PUBLIC KEY"

// TrustFiles returns the trust bundle as files.
func (a *Authority) TrustFiles() map[string]string {
	return map[string]string{
		TrustRootFile:  string(pem.EncodeToMemory(&pem.Block{Type: pemRoot, Bytes: a.root.Public().Bytes()})),
		TrustAPICAFile: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.tls.Raw})),
	}
}

// LoadTrust reads a trust bundle from the files of dir.
func LoadTrust(dir string) (*Trust, error) {
	rootPEM, err := os.ReadFile(filepath.Join(dir, TrustRootFile))
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	apiPEM, err := os.ReadFile(filepath.Join(dir, TrustAPICAFile))
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	t, err := ParseTrust(rootPEM, apiPEM)
	if err == nil {
		t.Former, err = loadFormer(dir)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// ParseTrust decodes the two files that every trust bundle has.
func ParseTrust(rootPEM, apiPEM []byte) (*Trust, error) {
	block, _ := pem.Decode(rootPEM)
	if block == nil || block.Type != pemRoot {
		return nil, fmt.Errorf("trust bundle: %s holds no %q block", TrustRootFile, pemRoot)
	}
	root, err := ParsePublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %s: %w", TrustRootFile, err)
	}
	t := &Trust{Root: root, APICA: x509.NewCertPool()}
	if !t.APICA.AppendCertsFromPEM(apiPEM) {
		return nil, fmt.Errorf("trust bundle: %s holds no certificate", TrustAPICAFile)
	}
	return t, nil
}

// Issue signs a certificate for a node. The zone may be empty.
func (a *Authority) Issue(name, zone string, key *PublicKey, notBefore, notAfter time.Time) (*Certificate, error) {
	return newCertificate(a.root, name, zone, key, notBefore, notAfter)
}

// IssueTLS signs a TLS server certificate for key with the given names and
// addresses and nothing else, and returns its DER encoding.
func (a *Authority) IssueTLS(key any, names []string, ips []net.IP, notBefore, notAfter time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     names,
		IPAddresses:  ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.tls, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate for %v: %w", names, err)
	}
	return der, nil
}

// NewNode issues a whole identity in one step: for tests and for tools that
// hold the authority themselves.
func (a *Authority) NewNode(name, zone string, life time.Duration) (*Node, error) {
	key, now := GenerateKey(), time.Now()
	c, err := a.Issue(name, zone, key.Public(), now, now.Add(life))
	if err != nil {
		return nil, err
	}
	cert, err := a.ServerCertificate([]string{name}, now, now.Add(life))
	if err != nil {
		return nil, err
	}
	return NewNode(&Credential{Key: key, Certificate: c, TLS: cert}, a.Trust()), nil
}

// ServerCertificate makes a TLS key pair and signs its certificate for hosts,
// which are DNS names or IP addresses.
func (a *Authority) ServerCertificate(hosts []string, notBefore, notAfter time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("TLS key: %w", err)
	}
	var names []string
	var ips []net.IP
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			ips = append(ips, ip)
		} else {
			names = append(names, h)
		}
	}
	der, err := a.IssueTLS(key.Public(), names, ips, notBefore, notAfter)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// serial returns a random 127-bit serial number, as RFC 5280 asks for positive
// ones of at most 20 bytes.
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}
