package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/clock"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

const (
	// askFor is how long one question to a pod may take.
	askFor = 15 * time.Second
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 20

	historyPath = "/history"
)

// Journal reads the whole journal of a node.
func (m *Mesh) Journal(ctx context.Context, node string) ([]event.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	get, err := m.open(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", node, err)
	}
	entries, err := journal(get)
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", node, err)
	}
	return entries, nil
}

// journal reads page after page until there are no more entries.
func journal(get func(path string) ([]byte, error)) ([]event.Entry, error) {
	var all []event.Entry
	for after := uint64(0); ; {
		b, err := get(api.EventsPath + "?after=" + strconv.FormatUint(after, 10))
		if err != nil {
			return nil, err
		}
		entries, err := event.Read(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return all, nil
		}
		all = append(all, entries...)
		last := entries[len(entries)-1].Seq
		if last <= after {
			return nil, fmt.Errorf("does not advance after entry %d", after)
		}
		after = last
	}
}

// Status reads a node's view of the mesh.
func (m *Mesh) Status(ctx context.Context, node string) (*api.Status, error) {
	b, err := m.ask(ctx, node, api.StatusPath)
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", node, err)
	}
	s := &api.Status{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("status of %s: %w", node, err)
	}
	return s, nil
}

// Knowledge reads what a node's loop has learned.
func (m *Mesh) Knowledge(ctx context.Context, node string) (*api.Knowledge, error) {
	b, err := m.ask(ctx, node, api.KnowledgePath)
	if err != nil {
		return nil, fmt.Errorf("knowledge of %s: %w", node, err)
	}
	k := &api.Knowledge{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, fmt.Errorf("knowledge of %s: %w", node, err)
	}
	return k, nil
}

// Bodies reads the content of records of a node, one after the other, and gently: it rests for as
// long as it works. A record that the node says it has not is left out.
func (m *Mesh) Bodies(ctx context.Context, node string, ids []string, visit func(id string, body []byte)) error {
	get, err := m.open(ctx, node)
	if err != nil {
		return fmt.Errorf("records of %s: %w", node, err)
	}
	for _, id := range ids {
		began := time.Now()
		b, err := get(api.RecordsPath + "/" + url.PathEscape(id))
		var p *api.Problem
		if errors.As(err, &p) && p.Status == http.StatusNotFound {
			continue
		}
		if err != nil {
			return fmt.Errorf("record %s of %s: %w", id, node, err)
		}
		visit(id, b)
		if err := clock.Wait(ctx, time.Since(began)); err != nil {
			return fmt.Errorf("records of %s: %w", node, err)
		}
	}
	return nil
}

// Records lists the ids of all records of a node, as often as the node lists
// them.
func (m *Mesh) Records(ctx context.Context, node string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	get, err := m.open(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("records of %s: %w", node, err)
	}
	ids, err := records(get)
	if err != nil {
		return nil, fmt.Errorf("records of %s: %w", node, err)
	}
	return ids, nil
}

// records reads page after page until there are no more records.
func records(get func(path string) ([]byte, error)) ([]string, error) {
	var ids []string
	for after := ""; ; {
		b, err := get(api.RecordsPath + "?after=" + url.QueryEscape(after))
		if err != nil {
			return nil, err
		}
		var page api.RecordList
		if err := json.Unmarshal(b, &page); err != nil {
			return nil, err
		}
		for _, r := range page.Records {
			ids = append(ids, r.ID)
		}
		if !page.More {
			return ids, nil
		}
		if len(page.Records) == 0 || page.Records[len(page.Records)-1].ID <= after {
			return nil, fmt.Errorf("the list does not advance after %q", after)
		}
		after = page.Records[len(page.Records)-1].ID
	}
}

// History reads what the recording clients did, as JSON lines.
func (m *Mesh) History(ctx context.Context) ([]byte, error) {
	clients, err := m.Pods(ctx, ClientApp)
	if err != nil {
		return nil, err
	}
	if len(clients) == 0 {
		return nil, fmt.Errorf("no pod with app=%s in %s", ClientApp, m.Namespace)
	}
	var all []byte
	for _, p := range clients {
		b, err := func() ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, askFor)
			defer cancel()
			addr, hangUp, _, err := m.dial(ctx, p.Name, api.MetricsPort)
			if err != nil {
				return nil, err
			}
			defer hangUp()
			return fetch(ctx, http.DefaultClient, "http://"+addr+historyPath, "")
		}()
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", p.Name, err)
		}
		all = append(all, b...)
	}
	return all, nil
}

// ask asks a node's API one question.
func (m *Mesh) ask(ctx context.Context, node, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	get, err := m.open(ctx, node)
	if err != nil {
		return nil, err
	}
	return get(path)
}

// fetch gets a URL. An answer that is a problem document becomes the error.
func fetch(ctx context.Context, c *http.Client, url, token string) (body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		if strings.HasPrefix(resp.Header.Get("Content-Type"), api.ProblemType) {
			return nil, api.ReadProblem(resp)
		}
		return nil, fmt.Errorf("GET %s: %s", req.URL.Path, resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("GET %s: more than %d bytes", req.URL.Path, maxAnswer)
	}
	return body, err
}
