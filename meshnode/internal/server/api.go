package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// Node is what the API shows of a node.
type Node interface {
	ClientSessions
	Name() string
	NotReady() []string
	// Leaving reports whether the node is about to stop: it still serves, but
	// connections are to go elsewhere.
	Leaving() bool
	Status() api.Status
	Knowledge() api.Knowledge
	Events(after uint64, max int) []event.Entry
	Accept(ctx context.Context, id string, body []byte, copies int) (store.Record, []string, error)
	Record(id string) (store.Record, error)
	Records(after string, max int) (page []store.Entry, more bool, err error)
}

const (
	// maxWrites is how many records may be on their way to disk and peers at
	// once; further clients are told to come back.
	maxWrites = 256
	// maxLists is how many pages of records may be looked up at once, and how many of the journal.
	maxLists = 4
	// bodyTimeout is how long a client may take to send a body.
	bodyTimeout = 5 * time.Second
	// maxEvents is how many journal entries one answer holds.
	maxEvents  = 10000
	retryAfter = time.Second
	// quotaRetry is the wait after a refusal by the quota, which ends when an operator
	// gives the store more room.
	quotaRetry = time.Minute
)

type handler struct {
	node   Node
	token  func() (string, error)
	writes chan struct{}
	// The slots for pages: who lists records keeps nobody from the journal.
	lists, journals chan struct{}
	logger          *slog.Logger
}

// API serves package api's routes for node. token returns the bearer token that
// clients must show; it is asked for at every request, so that it can change.
func API(node Node, token func() (string, error), logger *slog.Logger) http.Handler {
	h := &handler{node: node, token: token, writes: make(chan struct{}, maxWrites), lists: make(chan struct{}, maxLists), journals: make(chan struct{}, maxLists), logger: logger}
	mux := http.NewServeMux()
	mux.Handle(api.RecordsPath, methods{http.MethodGet: h.list})
	mux.Handle(api.RecordsPath+"/{id}", methods{http.MethodGet: h.get, http.MethodPut: h.put})
	mux.Handle(api.SessionsPath, methods{http.MethodPost: h.createSession})
	mux.Handle(api.SessionsPath+"/{id}", methods{http.MethodGet: h.getSession, http.MethodPut: h.putSession})
	mux.Handle(api.StatusPath, methods{http.MethodGet: h.status})
	mux.Handle(api.KnowledgePath, methods{http.MethodGet: h.knowledge})
	mux.Handle(api.EventsPath, methods{http.MethodGet: h.events})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		api.NewProblem(http.StatusNotFound, "no such resource; see %s, %s, %s, %s and %s", api.RecordsPath, api.SessionsPath, api.StatusPath, api.KnowledgePath, api.EventsPath).ServeHTTP(w, r)
	})
	return h.authorized(mux)
}

// endpoint answers a request or returns the problem with it.
type endpoint func(w http.ResponseWriter, r *http.Request) *api.Problem

// methods is a resource: its endpoints by HTTP method.
type methods map[string]endpoint

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := m[r.Method]
	if e == nil && r.Method == http.MethodHead {
		e = m[http.MethodGet]
	}
	if e == nil {
		var allow []string
		for name := range m {
			allow = append(allow, name)
		}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		api.NewProblem(http.StatusMethodNotAllowed, "use one of %s", strings.Join(allow, ", ")).ServeHTTP(w, r)
		return
	}
	if p := e(w, r); p != nil {
		p.ServeHTTP(w, r)
	}
}

// authorized lets requests with the token pass. Digests are compared, so that
// neither content nor length of the token can be told from the time it takes.
func (h *handler) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := h.token()
		if err != nil || want == "" {
			h.logger.Error("the API token cannot be read", "error", err)
			p := api.NewProblem(http.StatusServiceUnavailable, "this node has no API token yet")
			p.RetryAfter = retryAfter
			p.ServeHTTP(w, r)
			return
		}
		got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
		if !ok || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="mesh"`)
			api.NewProblem(http.StatusUnauthorized, "send the header Authorization: Bearer TOKEN").ServeHTTP(w, r)
			return
		}
		if h.node.Leaving() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ready returns the problem of a node that cannot serve records now.
func (h *handler) ready() *api.Problem {
	why := h.node.NotReady()
	if len(why) == 0 {
		return nil
	}
	return busy("not ready: %s", strings.Join(why, "; "))
}

func busy(format string, args ...any) *api.Problem {
	p := api.NewProblem(http.StatusServiceUnavailable, format, args...)
	p.RetryAfter = retryAfter
	return p
}

func recordID(r *http.Request) (string, *api.Problem) {
	id := r.PathValue("id")
	switch {
	case len(id) > api.MaxID:
		return "", api.NewProblem(http.StatusRequestEntityTooLarge, "the id has %d bytes, at most %d are allowed", len(id), api.MaxID)
	case id == "" || !utf8.ValidString(id) || strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return "", api.NewProblem(http.StatusBadRequest, "the id must be UTF-8 without control characters")
	}
	return id, nil
}

func (h *handler) put(w http.ResponseWriter, r *http.Request) *api.Problem {
	id, problem := recordID(r)
	if problem != nil {
		return problem
	}
	if problem := h.ready(); problem != nil {
		return problem
	}
	copies, problem := wantedCopies(r)
	if problem != nil {
		return problem
	}
	body, problem := readBody(w, r, api.MaxBody)
	if problem != nil {
		return problem
	}
	select { // only now: who sends slowly keeps nobody else waiting
	case h.writes <- struct{}{}:
		defer func() { <-h.writes }()
	default:
		return busy("%d records are being written, try again", maxWrites)
	}
	rec, holders, err := h.node.Accept(r.Context(), id, body, copies)
	switch {
	case errors.Is(err, store.ErrConflict):
		return api.NewProblem(http.StatusConflict, "%v; records never change, use another id", err)
	case errors.Is(err, store.ErrNoHolder):
		return busy("%v; it may still spread, repeat the request", err)
	case errors.Is(err, store.ErrQuota):
		p := api.NewProblem(http.StatusInsufficientStorage, "%v; reads go on", err)
		p.RetryAfter = quotaRetry
		return p
	case errors.Is(err, store.ErrRefused):
		return busy("%v; others do", err)
	case errors.Is(err, store.ErrTooFew):
		return busy("%v; nothing was stored", err)
	case r.Context().Err() != nil:
		return busy("the client has gone") // it does not read this
	case err != nil:
		h.logger.Error("record not accepted", "id", id, "error", err)
		return busy("the record could not be stored")
	}
	answer := describe(&rec)
	answer.Holders = holders
	return h.json(w, http.StatusCreated, answer)
}

// wantedCopies reads the parameter copies: how many nodes must hold the record before it
// is acknowledged.
func wantedCopies(r *http.Request) (int, *api.Problem) {
	s := r.URL.Query().Get("copies")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > api.MaxCopies {
		return 0, api.NewProblem(http.StatusBadRequest, "copies must be a number from 1 to %d, not %q", api.MaxCopies, s)
	}
	return n, nil
}

func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, *api.Problem) {
	// A recorder in a test has no connection, and so no deadline.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, api.NewProblem(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, api.NewProblem(http.StatusRequestEntityTooLarge, "the body has more than %d bytes", limit)
	}
	if err != nil {
		return nil, api.NewProblem(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	return body, nil
}

func describe(r *store.Record) api.Record {
	return api.Record{ID: r.ID, Origin: r.Node, Time: r.Time, Size: len(r.Body)}
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) *api.Problem {
	id, problem := recordID(r)
	if problem != nil {
		return problem
	}
	if problem := h.ready(); problem != nil {
		return problem
	}
	rec, err := h.node.Record(id)
	if errors.Is(err, store.ErrNotFound) {
		return api.NewProblem(http.StatusNotFound, "no record %q here", id)
	}
	if errors.Is(err, store.ErrBehind) {
		return busy("no record %q here yet: the node has just started and is taking in what others hold", id)
	}
	if err != nil {
		h.logger.Error("record not read", "id", id, "error", err)
		return api.NewProblem(http.StatusInternalServerError, "the record could not be read")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.sent(w.Write(rec.Body))
	return nil
}

func (h *handler) list(w http.ResponseWriter, r *http.Request) *api.Problem {
	after := r.URL.Query().Get("after")
	if len(after) > api.MaxID {
		return api.NewProblem(http.StatusRequestEntityTooLarge, "after has %d bytes, at most %d are allowed", len(after), api.MaxID)
	}
	if problem := h.ready(); problem != nil {
		return problem
	}
	page, more, problem := h.page(after)
	if problem != nil {
		return problem
	}
	list := api.RecordList{Records: []api.Record{}, More: more}
	for _, e := range page {
		list.Records = append(list.Records, api.Record{ID: e.ID, Origin: e.Node, Time: e.Time, Size: e.Size})
	}
	return h.json(w, http.StatusOK, list)
}

// listing takes a slot to look up one page of a list, and not while the client reads it.
func listing(slots chan struct{}) (done func(), problem *api.Problem) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	default:
		return nil, busy("%d lists are being made, try again", maxLists)
	}
}

// page looks up one page of records.
func (h *handler) page(after string) ([]store.Entry, bool, *api.Problem) {
	done, problem := listing(h.lists)
	if problem != nil {
		return nil, false, problem
	}
	defer done()
	page, more, err := h.node.Records(after, api.MaxList)
	if err != nil {
		h.logger.Error("records not read", "error", err)
		return nil, false, api.NewProblem(http.StatusInternalServerError, "the records could not be read")
	}
	return page, more, nil
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) *api.Problem {
	return h.json(w, http.StatusOK, h.node.Status())
}

func (h *handler) knowledge(w http.ResponseWriter, _ *http.Request) *api.Problem {
	return h.json(w, http.StatusOK, h.node.Knowledge())
}

func (h *handler) events(w http.ResponseWriter, r *http.Request) *api.Problem {
	var after uint64
	if s := r.URL.Query().Get("after"); s != "" {
		var err error
		if after, err = strconv.ParseUint(s, 10, 64); err != nil {
			return api.NewProblem(http.StatusBadRequest, "after must be a number of an entry, not %q", s)
		}
	}
	entries, problem := h.entries(after)
	if problem != nil {
		return problem
	}
	w.Header().Set("Content-Type", "application/jsonl")
	enc := json.NewEncoder(w)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			h.sent(0, err)
			return nil
		}
	}
	return nil
}

// entries looks up one page of the journal.
func (h *handler) entries(after uint64) ([]event.Entry, *api.Problem) {
	done, problem := listing(h.journals)
	if problem != nil {
		return nil, problem
	}
	defer done()
	return h.node.Events(after, maxEvents), nil
}

func (h *handler) json(w http.ResponseWriter, status int, v any) *api.Problem {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	h.sent(0, json.NewEncoder(w).Encode(v))
	return nil
}

// sent notes an answer that could not be sent: the client is gone.
func (h *handler) sent(_ int, err error) {
	if err != nil {
		h.logger.Debug("answer not sent", "error", err)
	}
}
