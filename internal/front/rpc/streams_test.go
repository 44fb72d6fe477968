package rpc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keelson/keelson/api/client"
	"github.com/keelson/keelson/internal/front/rpc"
	"github.com/keelson/keelson/internal/model/event"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

func TestAStreamEndsWhenItsReaderHasEnough(t *testing.T) {
	c := serve(t, &fake{}, rpc.Local)
	enough := errors.New("enough")
	err := c.WatchStatus(t.Context(), func(s status.Cell) error {
		equal(t, "cell", s.Name, "shop")
		return enough
	})
	equal(t, "ended by the reader", errors.Is(err, enough), true)

	var seen []uint64
	err = c.FollowEvents(t.Context(), request.Follow{From: 7}, func(e event.Event) error {
		seen = append(seen, e.Seq)
		return nil
	})
	equal(t, "ended by the server", err, nil)
	equal(t, "events", seen, []uint64{7})
}

func TestAStoppingServerEndsItsStreamsAtOnce(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- rpc.Serve(ctx, l, nil, rpc.New(options(&fake{}, rpc.Local)), slog.New(slog.DiscardHandler))
	}()
	c, err := client.New(client.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bounded, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	err = c.WatchStatus(bounded, func(status.Cell) error {
		stop()
		return nil
	})
	if bounded.Err() != nil {
		t.Fatal("the stream went on")
	}
	if err == nil {
		t.Error("the reader was not told that there may be more")
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("served until %v", err)
	}
}

func TestLogsComeFromTheNodeThatHasThem(t *testing.T) {
	tests := []struct {
		name    string
		ask     request.Logs
		proxied bool
		want    string
		node    spec.NodeName
	}{
		{name: "it is this node", ask: request.Logs{Service: "shop"}, want: "here", node: "a"},
		{name: "it is another node", ask: request.Logs{Service: "far"}, want: "there", node: "b"},
		{name: "another node is named", ask: request.Logs{Service: "shop", Node: "c"}, want: "there", node: "c"},
		{name: "a node asks for what is here", ask: request.Logs{Service: "shop", Node: "a"}, proxied: true, want: "here", node: "a"},
		{name: "a node asks for what is not here", ask: request.Logs{Service: "shop", Node: "c"}, proxied: true, want: "wrong-node"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{}
			c := serve(t, f, rpc.Local)
			if tt.proxied {
				marked, err := client.New(client.Options{Socket: c.Target(), Proxied: true})
				if err != nil {
					t.Fatal(err)
				}
				defer marked.Close()
				c = marked
			}
			got := ""
			err := c.ReadLogs(t.Context(), tt.ask, func(chunk request.LogChunk) error {
				got = chunk.Part
				return nil
			})
			if err != nil {
				equal(t, "code", known(t, err).Code, tt.want)
				return
			}
			equal(t, "from", got, tt.want)
			equal(t, "node", f.heard().(request.Logs).Node, tt.node)
		})
	}
}

// The agent that has the output ends while it is read by way of another.
func TestOutputWhoseAgentWentAwayIsExplained(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"it was told to stop", &request.Error{Kind: request.Canceled, Code: "canceled", Text: "the request was given up"}, "agent-away"},
		{"it was killed", &request.Error{Kind: request.Unreachable, Code: "unreachable", Text: "nobody answers"}, "agent-away"},
		{"it says no", &request.Error{Kind: request.NotFound, Code: "no-output", Text: "none"}, "no-output"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, &fake{err: tt.err}, rpc.Local)
			err := c.ReadLogs(t.Context(), request.Logs{Service: "shop", Node: "c", Follow: true}, func(request.LogChunk) error { return nil })
			e := known(t, err)
			equal(t, "code", e.Code, tt.want)
			if tt.want == "agent-away" && (!strings.Contains(e.Text, "the agent of node c") || !strings.Contains(e.Hint, "keelson logs shop --node c --follow")) {
				t.Errorf("it says %q, hint %q", e.Text, e.Hint)
			}
		})
	}
}
