package store

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
)

// Get returns the record of an id.
func (s *Store) Get(id string) (Record, error) {
	var r Record
	err := s.view(func(tx *bbolt.Tx) (err error) {
		r, err = find(tx, id)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("record %q: %w", id, err)
	}
	return r, nil
}

// find returns the record that is the answer for an id.
func find(tx *bbolt.Tx, id string) (r Record, err error) {
	v := tx.Bucket(idBucket).Get([]byte(id))
	if v == nil {
		return r, ErrNotFound
	}
	p, err := decodePlace([]byte(id), v)
	if err != nil {
		return r, err
	}
	return r, decodeRecord(p.key, tx.Bucket(logBucket).Get(p.key), &r)
}

// prove adds its proof to a record of the log, without the certificate.
func prove(tx *bbolt.Tx, r *Record) (err error) {
	k := key(r.Origin, r.Seq)
	r.proof, err = decodeProof(k, tx.Bucket(proofBucket).Get(k))
	return err
}

// proveWhole adds the certificate of its signer, too.
func proveWhole(tx *bbolt.Tx, r *Record) (err error) {
	if err = prove(tx, r); err == nil {
		r.proof.certificate, err = certificate(tx, r.proof.signer)
	}
	return err
}

// signerAt returns under which certificate a record is signed.
func (s *Store) signerAt(at position) (id certificateID, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		k := key(at.origin, at.seq)
		v := tx.Bucket(proofBucket).Get(k)
		if v == nil {
			return ErrNotFound
		}
		p, err := decodeProof(k, v)
		id = p.signer
		return err
	})
	return id, err
}

// proven returns a record with its whole proof.
func (s *Store) proven(p position) (r Record, err error) {
	err = s.view(func(tx *bbolt.Tx) (err error) {
		k := key(p.origin, p.seq)
		v := tx.Bucket(logBucket).Get(k)
		if v == nil {
			return ErrNotFound
		}
		if err := decodeRecord(k, v, &r); err != nil {
			return err
		}
		return proveWhole(tx, &r)
	})
	return r, err
}

// List returns up to max records with ids after the given one, in order, for who reads
// them: without their proofs.
func (s *Store) List(after string, max int) ([]Record, error) {
	var records []Record
	err := s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(idBucket).Cursor()
		k, v := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, v = c.Next()
		}
		for ; k != nil && len(records) < max; k, v = c.Next() {
			p, err := decodePlace(k, v)
			if err != nil {
				return err
			}
			var r Record
			if err := decodeRecord(p.key, tx.Bucket(logBucket).Get(p.key), &r); err != nil {
				return err
			}
			records = append(records, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return records, nil
}

// missing returns up to max records that a store with the given summary lacks, with their
// proofs. The first of each signer brings the certificate.
func (s *Store) missing(peer *summary, max int) ([]Record, error) {
	lacking := s.Vector().lacking(peer)
	if len(lacking) == 0 {
		return nil, nil
	}
	var records []Record
	brought := map[certificateID]bool{}
	err := s.view(func(tx *bbolt.Tx) (err error) {
		c := tx.Bucket(logBucket).Cursor()
		for _, l := range lacking {
			k, v := c.Seek(key(l.origin, l.span[0]))
			for seq := l.span[0]; seq <= l.span[1] && len(records) < max; seq++ {
				if !bytes.Equal(k, key(l.origin, seq)) {
					return damaged("record %d of %s is gone", seq, l.origin)
				}
				var r Record
				if err := decodeRecord(k, v, &r); err != nil {
					return err
				}
				if err := prove(tx, &r); err != nil {
					return err
				}
				if !brought[r.proof.signer] {
					brought[r.proof.signer] = true
					if r.proof.certificate, err = certificate(tx, r.proof.signer); err != nil {
						return err
					}
				}
				records = append(records, r)
				k, v = c.Next()
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("missing records: %w", err)
	}
	return records, nil
}
