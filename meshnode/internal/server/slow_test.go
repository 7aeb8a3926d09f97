package server

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
)

// TestSlowWritersKeepNobodyWaiting: more clients than there are slots have sent half
// of a record, and one that sends a whole one is served; and they are cut off.
func TestSlowWritersKeepNobodyWaiting(t *testing.T) {
	s := httptest.NewServer(handlerFor(&fake{records: map[string]store.Record{}}))
	defer s.Close()
	var slow []net.Conn
	defer func() {
		for _, c := range slow {
			_ = c.Close()
		}
	}()
	start := time.Now()
	for i := range maxWrites + 50 {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
		if _, err := fmt.Fprintf(c, "PUT %s/slow-%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\nhalf", api.RecordsPath, i, secret); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 { // in the end all of them are at it
		req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("%s%s/honest-%d", s.URL, api.RecordsPath, i), strings.NewReader("whole"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("an honest client's record %d: %s", i, resp.Status)
		}
		<-time.After(10 * time.Millisecond)
	}
	// The first that came has its time, and no more.
	if err := slow[0].SetReadDeadline(start.Add(3 * bodyTimeout)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := slow[0].Read(answer)
	if err != nil || !strings.Contains(string(answer[:n]), "400 ") {
		t.Errorf("a slow client is answered %q, %v", answer[:n], err)
	}
}

// TestListsAreBounded: so many lists are made at once and no more, of records and of the journal.
func TestListsAreBounded(t *testing.T) {
	for _, path := range []string{api.RecordsPath, api.EventsPath} {
		t.Run(path, func(t *testing.T) { listsAreBounded(t, path) })
	}
}

func listsAreBounded(t *testing.T, path string) {
	f := &fake{records: map[string]store.Record{}, block: make(chan struct{})}
	h := handlerFor(f)
	codes := make(chan int, 3*maxLists)
	var lists sync.WaitGroup
	for range 3 * maxLists {
		lists.Go(func() { codes <- call(t, h, "GET", path, "").StatusCode })
	}
	for range 2 * maxLists { // those that find no slot return first
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("a list too many: %d", code)
		}
	}
	close(f.block)
	lists.Wait()
	for range maxLists {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a list within the bound: %d", code)
		}
	}
}
