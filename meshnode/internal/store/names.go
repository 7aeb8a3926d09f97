package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

const (
	// randomPart is the length of what follows a node's name in its store's.
	randomPart = 16
	// maxSeq bounds sequence numbers, so that arithmetic on them never overflows and
	// JSON keeps them whole (RFC 8259, section 6).
	maxSeq = 1<<53 - 1
)

// validOrigin reports whether s can name a store of a node: the node's name, a slash,
// and up to 16 hexadecimal digits. It returns the node's name.
func validOrigin(s string) (node string, ok bool) {
	node, random, found := strings.Cut(s, "/")
	ok = found && identity.ValidName(node) && random != "" && len(random) <= randomPart
	for _, c := range []byte(random) {
		ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
	}
	return node, ok
}

// validID reports whether s can name a record, as the client API has it.
func validID(s string) bool {
	return s != "" && len(s) <= maxID && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// check says whether a summary that came from elsewhere can be one.
func (s *summary) check() error {
	for _, bound := range []string{s.After, s.Through} {
		if _, ok := validOrigin(bound); bound != "" && !ok {
			return fmt.Errorf("%w: vector up to %.40q", errMessage, bound)
		}
	}
	for _, v := range []Vector{s.Have, s.Refused} {
		for origin, e := range v {
			if _, ok := validOrigin(origin); !ok {
				return fmt.Errorf("%w: vector of %.40q", errMessage, origin)
			}
			if err := e.check(); err != nil {
				return err
			}
		}
	}
	return nil
}
