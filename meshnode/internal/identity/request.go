package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// EnrolRequest is the body of POST /v1/enrol: a node asks for a certificate.
type EnrolRequest struct {
	Token     string    `json:"token"`     // service-account token bound to the node's pod and the CA's audience
	Name      string    `json:"name"`      // the pod's name
	Zone      string    `json:"zone"`      // may be empty
	PublicKey []byte    `json:"publicKey"` // ML-DSA-65
	Time      time.Time `json:"time"`      // when it was made
	Nonce     []byte    `json:"nonce"`     // 32 random bytes
	CSR       []byte    `json:"csr"`       // PKCS #10, DER: the TLS key of the client API
	Proof     []byte    `json:"proof"`     // signature over everything above: the sender has the private key
}

// EnrolResponse answers an EnrolRequest.
type EnrolResponse struct {
	Certificate    []byte `json:"certificate"`    // see Certificate
	TLSCertificate []byte `json:"tlsCertificate"` // X.509, DER
}

const (
	enrolNonceSize = 32
	// maxEnrolBody bounds a request: a token of several KiB, a key of 1952 and
	// a signature of 3309 bytes in base64, a CSR.
	maxEnrolBody = 64 << 10
	maxCSR       = 4 << 10
)

// errRequest is the error of a request that cannot be understood.
var errRequest = errors.New("malformed enrolment request")

// signed returns what the proof signs: every field in a fixed order, each
// preceded by its length, the token by its hash only.
func (r *EnrolRequest) signed() []byte {
	token := sha256.Sum256([]byte(r.Token))
	var b []byte
	for _, f := range [][]byte{
		token[:], []byte(r.Name), []byte(r.Zone), r.PublicKey,
		binary.BigEndian.AppendUint64(nil, uint64(r.Time.UnixNano())), r.Nonce, r.CSR,
	} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(f)))
		b = append(b, f...)
	}
	return b
}

// newEnrolRequest makes a request for key, with a proof that it is held.
func newEnrolRequest(token, name, zone string, key *PrivateKey, csr []byte, now time.Time) *EnrolRequest {
	r := &EnrolRequest{
		Token: token, Name: name, Zone: zone, PublicKey: key.Public().Bytes(),
		Time: now.UTC(), Nonce: make([]byte, enrolNonceSize), CSR: csr,
	}
	rand.Read(r.Nonce)
	r.Proof = key.Sign(ContextEnrolment, r.signed())
	return r
}

// parseEnrolRequest decodes and checks the form of a request. The error wraps
// errRequest.
func parseEnrolRequest(body []byte) (*EnrolRequest, *PublicKey, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	r := new(EnrolRequest)
	if err := d.Decode(r); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("%w: more than one JSON value", errRequest)
	}
	if !ValidName(r.Name) || r.Zone != "" && !ValidName(r.Zone) {
		return nil, nil, fmt.Errorf("%w: name and zone have to be DNS labels", errRequest)
	}
	if r.Token == "" || len(r.Nonce) != enrolNonceSize || len(r.CSR) == 0 || len(r.CSR) > maxCSR || len(r.Proof) != SignatureSize {
		return nil, nil, fmt.Errorf("%w: token, nonce (32 bytes), csr (at most %d bytes) and proof (%d bytes) are required", errRequest, maxCSR, SignatureSize)
	}
	if y := r.Time.Year(); y < 1970 || y > 2261 {
		return nil, nil, fmt.Errorf("%w: time", errRequest)
	}
	key, err := ParsePublicKey(r.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	return r, key, nil
}
