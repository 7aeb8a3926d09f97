package store

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// member is a Notary with the cryptography of a mesh; see package node.
type member struct{ id *identity.Node }

func newMember(b *testing.B, a *identity.Authority, name string) member {
	b.Helper()
	id, err := a.NewNode(name, "", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	return member{id}
}

func (m member) Sign(statement []byte) (certificate, signature []byte) {
	c := m.id.Credential()
	return c.Certificate.Bytes(), c.Key.Sign(identity.ContextRecord, statement)
}

func (m member) Identify(certificate []byte) (string, func(statement, signature []byte) bool, error) {
	c, err := identity.ParseCertificate(certificate)
	if err == nil {
		err = c.VerifyIssuer(m.id.Trust().Root)
	}
	if err != nil {
		return "", nil, err
	}
	return c.Name, func(statement, signature []byte) bool {
		return c.PublicKey.Verify(identity.ContextRecord, statement, signature)
	}, nil
}

// Trust never changes.
func (m member) Trust() any { return nil }

const benchBody = 1024

// BenchmarkPut writes records of 1 KiB to a disk, each with its flush: signed by ML-DSA-65,
// and with the hash of a name in the place of a signature.
func BenchmarkPut(b *testing.B) {
	a, err := identity.NewAuthority()
	if err != nil {
		b.Fatal(err)
	}
	for what, n := range map[string]Notary{"signed": newMember(b, a, "a"), "bare": stamp("a")} {
		b.Run(what, func(b *testing.B) {
			s := openBy(b, b.TempDir(), "a", n)
			body := make([]byte, benchBody)
			i := 0
			for ; b.Loop(); i++ {
				if _, _, err := s.Put(fmt.Sprint(i), body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(s.Used())/float64(i), "disk-B/record")
		})
	}
}

// BenchmarkAdd takes in batches of another's records of 1 KiB, as repair does.
func BenchmarkAdd(b *testing.B) {
	a, err := identity.NewAuthority()
	if err != nil {
		b.Fatal(err)
	}
	for what, n := range map[string][2]Notary{
		"signed": {newMember(b, a, "a"), newMember(b, a, "b")}, "bare": {stamp("a"), stamp("b")},
	} {
		b.Run(what, func(b *testing.B) {
			from, to := openBy(b, b.TempDir(), "b", n[1]), openBy(b, b.TempDir(), "a", n[0])
			body := make([]byte, benchBody)
			var records []Record
			for seq := uint64(1); b.Loop(); {
				b.StopTimer()
				records = records[:0]
				for range batch {
					r := Record{ID: fmt.Sprint(seq), Node: "b", Origin: from.origin, Seq: seq, Time: someTime, Body: body}
					from.sign(&r)
					records = append(records, r)
					seq++
				}
				b.StartTimer()
				if n, err := to.Add(records...); err != nil || n != batch {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "us/record")
		})
	}
}

// BenchmarkGet reads one of a thousand records of 1 KiB.
func BenchmarkGet(b *testing.B) {
	s := openBy(b, b.TempDir(), "a", sized{"a"})
	fill(b, s)
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		if _, err := s.Get(fmt.Sprintf("%04d", rng.IntN(1000))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEntries lists a thousand records.
func BenchmarkEntries(b *testing.B) {
	s := openBy(b, b.TempDir(), "a", sized{"a"})
	fill(b, s)
	for b.Loop() {
		if page, _, err := s.Entries("", 1000); err != nil || len(page) != 1000 {
			b.Fatal(len(page), err)
		}
	}
}

func fill(b *testing.B, s *Store) {
	body := make([]byte, benchBody)
	s.db.NoSync = true
	for i := range 1000 {
		if _, _, err := s.Put(fmt.Sprintf("%04d", i), body); err != nil {
			b.Fatal(err)
		}
	}
}

// sized is a stamp whose signatures are as long as ML-DSA's.
type sized struct{ stamp }

func (s sized) Sign(statement []byte) (certificate, signature []byte) {
	sum := sha256.Sum256(statement)
	certificate, _ = s.stamp.Sign(statement)
	return certificate, append(sum[:], make([]byte, identity.SignatureSize-len(sum))...)
}
