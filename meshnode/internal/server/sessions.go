package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
)

// ClientSessions is what the API shows of a node's client sessions.
type ClientSessions interface {
	CreateSession(ctx context.Context, body []byte) (home.Session, error)
	Session(ctx context.Context, id string) (home.Session, error)
	UpdateSession(ctx context.Context, id string, match *uint64, body []byte) (home.Session, error)
}

func (h *handler) createSession(w http.ResponseWriter, r *http.Request) *api.Problem {
	return h.session(w, r, http.StatusCreated, func(ctx context.Context) (home.Session, *api.Problem, error) {
		body, problem := readBody(w, r, api.MaxSession)
		if problem != nil {
			return home.Session{}, problem, nil
		}
		s, err := h.node.CreateSession(ctx, body)
		return s, nil, err
	})
}

func (h *handler) getSession(w http.ResponseWriter, r *http.Request) *api.Problem {
	return h.session(w, r, http.StatusOK, func(ctx context.Context) (home.Session, *api.Problem, error) {
		id, problem := sessionID(r)
		if problem != nil {
			return home.Session{}, problem, nil
		}
		s, err := h.node.Session(ctx, id)
		return s, nil, err
	})
}

func (h *handler) putSession(w http.ResponseWriter, r *http.Request) *api.Problem {
	return h.session(w, r, http.StatusOK, func(ctx context.Context) (home.Session, *api.Problem, error) {
		id, problem := sessionID(r)
		if problem != nil {
			return home.Session{}, problem, nil
		}
		match, problem := expected(r)
		if problem != nil {
			return home.Session{}, problem, nil
		}
		body, problem := readBody(w, r, api.MaxSession)
		if problem != nil {
			return home.Session{}, problem, nil
		}
		s, err := h.node.UpdateSession(ctx, id, match, body)
		return s, nil, err
	})
}

// session does an operation on a session and answers.
func (h *handler) session(w http.ResponseWriter, r *http.Request, status int, do func(context.Context) (home.Session, *api.Problem, error)) *api.Problem {
	if problem := h.ready(); problem != nil {
		return problem
	}
	s, problem, err := do(r.Context())
	switch {
	case problem != nil:
		return problem
	case errors.Is(err, home.ErrMissing):
		return api.NewProblem(http.StatusNotFound, "%v", err)
	case errors.Is(err, home.ErrConflict):
		w.Header().Set("ETag", etag(s.Version))
		return api.NewProblem(http.StatusPreconditionFailed, "%v; read it and decide anew", err)
	case errors.Is(err, home.ErrBusy):
		return busy("%v", err)
	case r.Context().Err() != nil:
		return busy("the client has gone") // it does not read this
	case err != nil:
		h.logger.Error("session operation failed", "error", err)
		return busy("the session could not be reached")
	}
	if status == http.StatusCreated {
		w.Header().Set("Location", api.SessionsPath+"/"+s.ID)
	}
	w.Header().Set("ETag", etag(s.Version))
	return h.json(w, status, api.Session{ID: s.ID, Home: s.Home, Node: h.node.Name(), Epoch: s.Epoch, Version: s.Version, Body: s.Body})
}

func sessionID(r *http.Request) (string, *api.Problem) {
	id := r.PathValue("id")
	switch {
	case len(id) > api.MaxID:
		return "", api.NewProblem(http.StatusRequestEntityTooLarge, "the id has %d bytes, at most %d are allowed", len(id), api.MaxID)
	case !home.ValidID(id):
		return "", api.NewProblem(http.StatusBadRequest, "the id must be one that POST %s returned", api.SessionsPath)
	}
	return id, nil
}

func etag(version uint64) string { return strconv.Quote(strconv.FormatUint(version, 10)) }

// expected reads the version of the header If-Match; nil: any.
func expected(r *http.Request) (*uint64, *api.Problem) {
	tag := r.Header.Get("If-Match")
	if tag == "" || tag == "*" {
		return nil, nil
	}
	inner, quoted := strings.CutPrefix(tag, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	v, err := strconv.ParseUint(inner, 10, 63)
	if !quoted || !closed || err != nil {
		return nil, api.NewProblem(http.StatusBadRequest, `If-Match must be one version in quotes, such as "7"`)
	}
	return &v, nil
}
