package webd

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestItAnswersWithHostAndEpoch(t *testing.T) {
	now := time.Minute
	h := answer(Answer{Host: "h1", Epoch: 7, PID: 12}, func() time.Duration { now += time.Second; return now })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	var got Answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Answer{Host: "h1", Epoch: 7, PID: 12, Up: time.Second}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestItServesUntilItIsTold(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, []string{addr}, []string{"KEELSON_EPOCH=3", "X=y"}) }()
	var got Answer
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		r, err := http.Get("http://" + addr)
		if err != nil && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(r.Body).Decode(&got)
		r.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	host, _ := os.Hostname()
	got.Up = 0
	if diff := cmp.Diff(Answer{Host: host, Epoch: 3, PID: os.Getpid()}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestItRefuses(t *testing.T) {
	for _, c := range []struct {
		name          string
		args, environ []string
	}{
		{"no address", nil, nil},
		{"an address that it does not have", []string{"192.0.2.1:80"}, nil},
		{"an epoch that is no number", []string{"127.0.0.1:0"}, []string{"KEELSON_EPOCH=x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Run(t.Context(), c.args, c.environ); err == nil {
				t.Error("it ran")
			}
		})
	}
}
