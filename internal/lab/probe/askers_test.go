package probe

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask runs an asker until enough lines came, and returns all of them.
func ask(t *testing.T, role, config string, enough int) [][]byte {
	t.Helper()
	stdin, stop := io.Pipe()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Run(t.Context(), role, []string{config}, stdin, write)
		write.Close()
		ended <- err
	}()
	var lines [][]byte
	s := bufio.NewScanner(read)
	for s.Scan() {
		lines = append(lines, bytes.Clone(s.Bytes()))
		if len(lines) == enough {
			stop.Close()
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestHTTPAsksOverAndOver(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 4 {
		case 1:
			fmt.Fprint(w, `{"host":"h1","epoch":7}`)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			<-r.Context().Done() // no answer in time
		default:
			fmt.Fprint(w, "no JSON")
		}
	}))
	defer server.Close()
	var good, plain, refused, late int
	for _, l := range ask(t, RoleHTTP, fmt.Sprintf(`{"url":%q,"every":2000000,"timeout":300000000}`, server.URL), 40) {
		var r HTTPResult
		if err := json.Unmarshal(l, &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.OK && r.Host == "h1" && r.Epoch == 7:
			good++
		case r.OK && r.Host == "":
			plain++
		case r.Err == "status 503":
			refused++
		case r.Late && r.Done-r.Sent >= 300*time.Millisecond:
			late++
		default:
			t.Errorf("result %+v", r)
		}
	}
	if good < 8 || plain < 8 || refused < 8 || late < 4 {
		t.Errorf("%d good, %d plain, %d refused, %d late", good, plain, refused, late)
	}
}

func TestLoadCountsWhatFails(t *testing.T) {
	var n atomic.Int64
	var mu sync.Mutex
	connections := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr] = true
		mu.Unlock()
		if n.Add(1)%5 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	lines := ask(t, RoleLoad, fmt.Sprintf(`{"url":%q,"connections":3,"every":1000000}`, server.URL), 3)
	var last LoadCount
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		t.Fatal(err)
	}
	if last.Requests != uint64(n.Load()) || last.Failed != last.Requests/5 || last.LastErr != "status 500" {
		t.Errorf("%+v of %d", last, n.Load())
	}
	if len(connections) != 3 {
		t.Errorf("%d connections were used", len(connections))
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for role, configs := range map[string][]string{
		RoleHTTP: {`{}`, `{"url":"ftp://x"}`, `{"url":"http://x","every":1,"timeout":1000000}`, `no`},
		RoleARP:  {`{}`, `{"address":"fd77::1"}`, `{"address":"10.0.0.1","interface":"no-such"}`, `no`},
		RoleLoad: {`{}`, `{"url":"http://x","connections":-1}`, `{"url":"http://x","connections":1000}`, `no`},
		"other":  {`{}`},
	} {
		for _, c := range configs {
			if err := Run(t.Context(), role, []string{c}, strings.NewReader(""), io.Discard); err == nil {
				t.Errorf("%s accepts %s", role, c)
			}
		}
	}
}
