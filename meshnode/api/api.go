// Package api defines the node's client API: JSON over TLS 1.3 on port 8443,
// with a bearer token.
//
//	PUT  /v1/records/{id}     store the body under id; idempotent; 201 and a Record; with
//	                          ?copies=N only when N nodes hold it, else 503
//	GET  /v1/records/{id}     the body
//	GET  /v1/records?after=ID RecordList, ordered by id
//	POST /v1/sessions         a new client session with the body as its state; 201 and a Session
//	GET  /v1/sessions/{id}    Session with its state
//	PUT  /v1/sessions/{id}    replace the state; with If-Match: "VERSION" only that version; Session
//	GET  /v1/status           Status
//	GET  /v1/knowledge        Knowledge
//	GET  /v1/events?after=N   journal entries as JSON lines (package event)
//
// Errors are problem documents (RFC 9457). Over a limit the answer is 413,
// malformed input 400, no or a wrong token 401, an id that is already taken by
// other content 409, not ready or busy 503 with Retry-After in seconds,
// and a record for which the store has no room 507 with the same. A
// session that is not there, or has ended unused, is 404; one that has another
// version than If-Match says is 412, with the present version as ETag. A PUT
// with If-Match can be repeated: where it was applied already, it succeeds again.
package api

import "time"

// Ports of a node.
const (
	Port        = 8443 // client API, TLS
	MetricsPort = 8080 // /metrics, /healthz, /readyz, plain
)

// Limits of the API in bytes and entries.
const (
	MaxID   = 128
	MaxBody = 64 << 10
	MaxList = 1000
	// MaxCopies is the largest number of holders that a PUT can ask for.
	MaxCopies = 16
	// MaxSession is the largest state of a client session.
	MaxSession = 4 << 10
)

// Paths.
const (
	RecordsPath   = "/v1/records"
	SessionsPath  = "/v1/sessions"
	StatusPath    = "/v1/status"
	KnowledgePath = "/v1/knowledge"
	EventsPath    = "/v1/events"
)

// Record describes an accepted record.
type Record struct {
	ID string `json:"id"`
	// Origin is the node that accepted the record first.
	Origin string    `json:"origin"`
	Time   time.Time `json:"time"`
	Size   int       `json:"size"` // bytes of the body
	// Holders are the nodes known to hold the record on disk; only in the
	// answer to PUT.
	Holders []string `json:"holders,omitempty"`
}

// RecordList is a page of records ordered by id.
type RecordList struct {
	Records []Record `json:"records"`
	// More says that another page follows: ask after the last id.
	More bool `json:"more"`
}

// Session is a client session: a small state that lives in the memory of the
// mesh and ends when it is not used for a while.
type Session struct {
	ID string `json:"id"`
	// Home is the node that orders what is done to the session; Node is the one
	// that answered, which may have asked the home.
	Home    string `json:"home"`
	Node    string `json:"node"`
	Epoch   uint64 `json:"epoch"`          // grows when the home changes
	Version uint64 `json:"version"`        // grows by one with every update, from 1
	Body    []byte `json:"body,omitempty"` // the state; only in the answer to GET
}

// Status is a node's view of the mesh.
type Status struct {
	Node string `json:"node"`
	// Time is now by the node's clock.
	Time     time.Time `json:"time"`
	Zone     string    `json:"zone,omitempty"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Ready    bool      `json:"ready"`
	NotReady []string  `json:"not_ready,omitempty"` // reasons
	Verifier string    `json:"verifier"`            // how the eBPF program is attached
	MAPEK    bool      `json:"mapek"`               // Plan and Execute are on
	Records  int       `json:"records"`
	// Isolation is set while members are known and none is reached.
	Isolation *Isolation `json:"isolation,omitempty"`
	// Sessions is the number of client sessions by their homes.
	Sessions  map[string]int `json:"sessions"`
	Peers     []Peer         `json:"peers"`
	Routes    []Route        `json:"routes"`
	Incidents []Incident     `json:"incidents"`
}

// Isolation says why a node reaches none of the members that it knows.
type Isolation struct {
	Since  time.Time `json:"since"`
	Cause  string    `json:"cause"` // one of metric.Causes()
	Detail string    `json:"detail"`
}

// Peer is a node's view of another node and of the session with it.
type Peer struct {
	Name       string  `json:"name"`
	Address    string  `json:"address,omitempty"`
	Status     string  `json:"status"` // reachable, suspect, unreachable, unknown
	RTTSeconds float64 `json:"rtt_seconds,omitempty"`
	Quality    uint8   `json:"quality"` // of the link, 0 to 255
	Session    string  `json:"session"` // none, handshaking, unverified, verified, revoked
	// SessionID is the id of the session in hex, as it travels in every frame's
	// header; empty if there is none.
	SessionID string `json:"session_id,omitempty"`
}

// Route is the path to one destination.
type Route struct {
	Destination string `json:"destination"`
	NextHop     string `json:"next_hop"`
	Quality     uint8  `json:"quality"` // of the path, 0 to 255
	Standby     string `json:"standby,omitempty"`
}

// Incident is an episode that Analyze recognised.
type Incident struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Peers    []string  `json:"peers"`
	Opened   time.Time `json:"opened"`
	Resolved time.Time `json:"resolved,omitzero"`
}
