package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// Notary signs what this node accepts, and knows by whose certificates others signed.
type Notary interface {
	// Sign signs a statement. It returns the certificate of the key that did.
	Sign(statement []byte) (certificate, signature []byte)
	// Identify returns whose certificate it is and what verifies its signatures, also
	// long after its time: a record outlives the key that signed it. The error is
	// ErrUnknownRoot if no root of the mesh that is known here signed it; then the name is
	// what it claims.
	Identify(certificate []byte) (name string, verify func(statement, signature []byte) bool, err error)
	// Trust returns a value that is another one, by ==, after what Identify goes by has
	// changed: a root has come, or was taken away.
	Trust() any
}

var (
	// ErrForged says that a record is not as its origin signed it.
	ErrForged = errors.New("record not signed by its origin")
	// ErrTwice says that an origin signed two records under one number. The first one
	// that came stays.
	ErrTwice = errors.New("second record under a number")
	// ErrUnknownRoot says that a certificate is of no root that is known here. While a
	// mesh changes its root, nodes learn of it at different times.
	ErrUnknownRoot = errors.New("certificate of an unknown root")

	// errNoCertificate says that the certificate of a record's signer has to come first.
	errNoCertificate = errors.New("certificate of the signer is not here")
)

// certificateID is the SHA-256 hash of a certificate.
type certificateID [sha256.Size]byte

// proof is what binds a record to its origin. It is kept beside the record, so that who
// reads one does not read it, and its certificate once for all records of a signer.
type proof struct {
	signer      certificateID
	signature   []byte
	certificate []byte // of the signer; nil if it did not come along
}

func (p *proof) encode() []byte {
	return append(p.signer[:len(p.signer):len(p.signer)], p.signature...)
}

func decodeProof(k, b []byte) (proof, error) {
	b, err := unseal(k, b)
	if err != nil {
		return proof{}, err
	}
	p := proof{}
	n := copy(p.signer[:], b)
	if len(b) <= n {
		return proof{}, damaged("signature of record %.*q", maxOrigin, k)
	}
	p.signature = bytes.Clone(b[n:])
	return p, nil
}

// statement is what an origin signs of a record: the SHA-256 hash of all of it.
func (r *Record) statement() [sha256.Size]byte {
	var b []byte
	for _, s := range []string{r.Origin, r.ID} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Time.Nanosecond()))
	return sha256.Sum256(append(b, r.Body...))
}

// sign makes the proof of a record of this store.
func (s *Store) sign(r *Record) {
	statement := r.statement()
	r.proof.certificate, r.proof.signature = s.notary.Sign(statement[:])
	r.proof.signer = sha256.Sum256(r.proof.certificate)
}

// signer is what Identify says of a certificate.
type signer struct {
	name        string
	verify      func(statement, signature []byte) bool
	certificate []byte
	unknown     error // of no root that is known here
}

// maxSigners bounds the certificates that are kept decoded, which takes some 40 KiB each.
const maxSigners = 64

// currentTrust returns what certificates are judged by at the moment.
func (s *Store) currentTrust() any {
	s.signing.Lock()
	defer s.signing.Unlock()
	return s.notary.Trust()
}

// signerOf returns who signed a record, by the certificate that came with it or that is
// kept here. Certificates of unknown roots are known by their ids for a while, since the
// records of a batch do not all bring one; and apart, so that they put no others out.
func (s *Store) signerOf(p *proof) (signer, error) {
	s.signing.Lock()
	defer s.signing.Unlock()
	if trust := s.notary.Trust(); trust != s.trust {
		clear(s.signers)
		clear(s.foreign)
		s.trust = trust
	}
	if known, ok := s.signers[p.signer]; ok {
		return known, nil
	}
	if known, ok := s.foreign[p.signer]; ok {
		return known, known.unknown
	}
	encoded := p.certificate
	if encoded == nil {
		err := s.view(func(tx *bbolt.Tx) (err error) {
			encoded, err = certificate(tx, p.signer)
			return err
		})
		if err != nil {
			return signer{}, err
		}
	}
	if sha256.Sum256(encoded) != p.signer {
		return signer{}, fmt.Errorf("%w: another certificate than it names", ErrForged)
	}
	name, verify, err := s.notary.Identify(encoded)
	if errors.Is(err, ErrUnknownRoot) {
		if len(s.foreign) >= maxSigners {
			clear(s.foreign)
		}
		s.foreign[p.signer] = signer{name: name, unknown: err}
	}
	if err != nil {
		return signer{name: name}, err
	}
	if len(s.signers) >= maxSigners {
		clear(s.signers)
	}
	s.signers[p.signer] = signer{name: name, verify: verify, certificate: encoded}
	return s.signers[p.signer], nil
}

// authenticate checks that a record is as its origin signed it, and gives it the certificate
// that was verified, whatever came with it. It takes as long as many reads, and no lock
// meanwhile but that of signers.
func (s *Store) authenticate(r *Record) error {
	who, err := s.signerOf(&r.proof)
	// Who makes up a root signs for the name in its certificate, too: stores of others are not
	// to be remembered for it.
	if err != nil && (who.name == r.Node || !errors.Is(err, ErrUnknownRoot)) {
		return fmt.Errorf("%.*q of %s: %w", maxID, r.ID, r.Origin, err)
	}
	if statement := r.statement(); who.name != r.Node || !who.verify(statement[:], r.proof.signature) {
		return fmt.Errorf("%w: %.*q, number %d of %s, by %s", ErrForged, maxID, r.ID, r.Seq, r.Origin, who.name)
	}
	r.proof.certificate = who.certificate
	return nil
}

// certificate returns a copy of one that is kept.
func certificate(tx *bbolt.Tx, id certificateID) ([]byte, error) {
	v := tx.Bucket(certificateBucket).Get(id[:])
	if v == nil {
		return nil, errNoCertificate
	}
	b, err := unseal(id[:], v)
	return bytes.Clone(b), err
}

// keepProof puts the proof of a record of the log beside it, with the certificate.
func keepProof(tx *bbolt.Tx, k []byte, p *proof) error {
	certificates := tx.Bucket(certificateBucket)
	if id := p.signer[:]; certificates.Get(id) == nil {
		if err := certificates.Put(id, seal(id, p.certificate)); err != nil {
			return err
		}
	}
	return tx.Bucket(proofBucket).Put(k, seal(k, p.encode()))
}
