package store

import (
	"errors"

	"go.etcd.io/bbolt"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// ErrQuota says that the store holds as much as it may. Reads go on, and so does the
// replication of what others have acknowledged.
var ErrQuota = errors.New("the store has reached its quota")

// SetQuota bounds the bytes in use from which on Put refuses; 0: no bound. It belongs well
// below the size of the volume: not every volume has an end of its own, and other nodes'
// records come on top.
func (s *Store) SetQuota(bytes int64) { s.quota.Store(bytes) }

// Used returns the bytes in use: those of the file without its free pages. It does not wait for
// the disk.
func (s *Store) Used() int64 { return s.bytes.Load() }

// weigh counts the bytes in use. It waits for a commit that is under way.
func (s *Store) weigh() {
	// A view of a database that is open does not fail.
	_ = s.view(func(tx *bbolt.Tx) error {
		s.bytes.Store(s.used(tx))
		return nil
	})
}

func (s *Store) used(tx *bbolt.Tx) int64 {
	stats := tx.DB().Stats()
	return tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*int64(tx.DB().Info().PageSize)
}

// encodedSize is about what a record takes at most: its body in base64, its names, its
// signature, the certificate of a signer who is new, and what the tree leaves empty beside
// them.
func encodedSize(body int) int64 {
	return int64(body)*4/3 + 4096 + identity.SignatureSize + identity.MaxCertificateSize
}

// Full reports whether Put refuses the largest record because of the quota.
func (s *Store) Full() bool {
	quota := s.quota.Load()
	return quota > 0 && s.Used()+encodedSize(maxBody) > quota
}
