// Package api defines the node's client API: JSON over TLS 1.3 on port 8443,
// with a bearer token.
//
//	PUT  /v1/records/{id}     store the body under id; idempotent; 201 and a Record
//	GET  /v1/records/{id}     the body
//	GET  /v1/records?after=ID RecordList, ordered by id
//	GET  /v1/status           Status
//	GET  /v1/events?after=N   journal entries as JSON lines (package event)
//
// Errors are problem documents (RFC 9457). Over a limit the answer is 413,
// malformed input 400, no or a wrong token 401, an id that is already taken by
// other content 409, not ready 503 with Retry-After in seconds.
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
)

// Paths.
const (
	RecordsPath = "/v1/records"
	StatusPath  = "/v1/status"
	EventsPath  = "/v1/events"
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

// Status is a node's view of the mesh.
type Status struct {
	Node      string     `json:"node"`
	Zone      string     `json:"zone,omitempty"`
	Version   string     `json:"version"`
	Started   time.Time  `json:"started"`
	Ready     bool       `json:"ready"`
	NotReady  []string   `json:"not_ready,omitempty"` // reasons
	Verifier  string     `json:"verifier"`            // how the eBPF program is attached
	MAPEK     bool       `json:"mapek"`               // Plan and Execute are on
	Records   int        `json:"records"`
	Peers     []Peer     `json:"peers"`
	Routes    []Route    `json:"routes"`
	Incidents []Incident `json:"incidents"`
}

// Peer is a node's view of another node and of the session with it.
type Peer struct {
	Name       string  `json:"name"`
	Address    string  `json:"address,omitempty"`
	Status     string  `json:"status"` // reachable, suspect, unreachable, unknown
	RTTSeconds float64 `json:"rtt_seconds,omitempty"`
	Quality    uint8   `json:"quality"` // of the link, 0 to 255
	Session    string  `json:"session"` // none, handshaking, unverified, verified, revoked
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
