package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

// request is an operation and how to ask for it.
type request struct {
	op           api.Operation
	method, path string
	body         []byte
	match        uint64 // version for If-Match; 0: none
	// missing says that "not found" is an answer.
	missing bool
	// check notes what an answer says in the operation.
	check func(op *api.Operation, body []byte) error
}

func (c *Client) write(id string) request {
	return request{
		op: api.Operation{Op: api.OpWrite, ID: id, Size: c.cfg.Size}, method: http.MethodPut, path: api.RecordsPath + "/" + url.PathEscape(id), body: api.RecordBody(id, c.cfg.Size),
	}
}

func (c *Client) read(id string) request {
	return request{
		op: api.Operation{Op: api.OpRead, ID: id}, method: http.MethodGet, path: api.RecordsPath + "/" + url.PathEscape(id), missing: true,
		check: func(op *api.Operation, body []byte) error {
			if !bytes.Equal(body, api.RecordBody(id, c.cfg.Size)) {
				return fmt.Errorf("wrong content: %d bytes", len(body))
			}
			op.Found = true
			return nil
		},
	}
}

// stateSize is the size of a session's state in bytes.
const stateSize = 128

// state is that of a session's version. That of the first one is made before
// the session has an id.
func state(id string, version uint64) []byte {
	if version == 1 {
		id = ""
	}
	return api.RecordBody(id+"/"+strconv.FormatUint(version, 10), stateSize)
}

// create makes a session.
func create() request {
	return request{
		op: api.Operation{Op: api.OpSession, ID: api.NoSession}, method: http.MethodPost, path: api.SessionsPath, body: state("", 1),
		check: func(op *api.Operation, body []byte) error {
			return answered(op, body, func(s *api.Session) bool { return s.Version == 1 })
		},
	}
}

// update replaces version v of a session by the next one. Repeated, it has no
// further effect.
func update(id string, v uint64) request {
	return request{
		op: api.Operation{Op: api.OpSession, ID: id}, method: http.MethodPut, path: api.SessionsPath + "/" + id, body: state(id, v+1), match: v,
		check: func(op *api.Operation, body []byte) error {
			return answered(op, body, func(s *api.Session) bool { return s.ID == id && s.Version == v+1 })
		},
	}
}

// look reads a session whose version is v.
func look(id string, v uint64) request {
	return request{
		op: api.Operation{Op: api.OpSession, ID: id}, method: http.MethodGet, path: api.SessionsPath + "/" + id,
		check: func(op *api.Operation, body []byte) error {
			return answered(op, body, func(s *api.Session) bool {
				return s.ID == id && s.Version == v && bytes.Equal(s.Body, state(id, v))
			})
		},
	}
}

// answered notes a session's home and version and checks the rest.
func answered(op *api.Operation, body []byte, right func(*api.Session) bool) error {
	var s api.Session
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	op.ID, op.Home, op.Version = s.ID, s.Home, s.Version
	if !right(&s) {
		return fmt.Errorf("wrong content: session %q, version %d, %d bytes", s.ID, s.Version, len(s.Body))
	}
	return nil
}
