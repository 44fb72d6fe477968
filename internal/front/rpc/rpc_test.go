package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	keelsonv1 "github.com/keelson/keelson/api/keelson/v1"
	"github.com/keelson/keelson/internal/front/rpc"
	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/spec"
	"github.com/keelson/keelson/internal/model/status"
)

// procedures lists the paths of all calls that the API defines.
func procedures() []string {
	var all []string
	services := keelsonv1.File_keelson_v1_cell_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for j := range methods.Len() {
			all = append(all, "/"+string(services.Get(i).FullName())+"/"+string(methods.Get(j).Name()))
		}
	}
	return all
}

// post makes one call with a JSON body and returns the HTTP status and body.
func post(t *testing.T, h http.Handler, path, body string) (int, string) {
	t.Helper()
	kind := "application/json"
	if strings.HasSuffix(path, "WatchStatus") || strings.HasSuffix(path, "FollowEvents") || strings.HasSuffix(path, "ReadLogs") {
		kind = "application/connect+json"
		body = string([]byte{0, 0, 0, 0, byte(len(body))}) + body
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestEveryCallIsGuarded(t *testing.T) {
	callers := map[string]rpc.Identity{
		"nobody": {}, "viewer": {Name: "v", Role: rpc.Viewer}, "operator": {Name: "o", Role: rpc.Operator},
		"admin": {Name: "m", Role: rpc.Admin}, "node": {Name: "node b", Node: "b"},
	}
	may := map[string]string{ // besides whom the call is for
		"GetStatus": "viewer operator admin node", "WatchStatus": "viewer operator admin node",
		"GetService": "viewer operator admin node", "GetNode": "viewer operator admin node",
		"ListEvents": "viewer operator admin node", "FollowEvents": "viewer operator admin node", "ReadLogs": "viewer operator admin node",
		"Apply": "operator admin node", "DeleteService": "operator admin node", "MoveService": "operator admin node",
		"ExplainService": "viewer operator admin node", "PlanApply": "viewer operator admin node", "WhatIf": "viewer operator admin node",
		"ListDecisions": "viewer operator admin node", "ReplayDecision": "viewer operator admin node", "ConfirmChange": "operator admin node",
		"DrainNode": "operator admin node", "UndrainNode": "operator admin node",
		"SetMaintenance": "operator admin node",
		"RemoveNode":     "admin node", "CreateToken": "admin node",
		"ClearService": "operator admin node", "TrustNode": "operator admin node",
		"GetRecovery": "viewer operator admin node", "SetRecovery": "admin node",
		"Join":             "nobody viewer operator admin node",
		"RenewCertificate": "node",
	}
	for _, path := range procedures() {
		method := path[strings.LastIndex(path, "/")+1:]
		if may[method] == "" {
			t.Errorf("%s has no rule in this test", method)
		}
		for who, id := range callers {
			t.Run(method+" by "+who, func(t *testing.T) {
				f := &fake{do: func(context.Context) error { return errors.New("reached") }}
				code, body := post(t, rpc.New(options(f, as(id))), path, "{}")
				reached := strings.Contains(body, "reached")
				if code == http.StatusNotFound {
					t.Fatalf("the gate does not know it")
				}
				equal(t, "reached", reached, strings.Contains(" "+may[method]+" ", " "+who+" "))
				if !reached && !strings.Contains(body, "no-certificate") && !strings.Contains(body, "not-permitted") &&
					!strings.Contains(body, "nodes-only") && !strings.Contains(body, "RXJyb3JEZXRhaWw") && !strings.Contains(body, "ErrorDetail") {
					t.Errorf("refused without a code: %s", body)
				}
			})
		}
	}
}

func TestErrorsArriveAsTheyWere(t *testing.T) {
	kinds := []request.Kind{
		request.Internal, request.Invalid, request.NotFound, request.Exists, request.Refused, request.Denied, request.Unknown,
		request.Unavailable, request.Conflict, request.Exhausted, request.Expired, request.Canceled,
	}
	f := &fake{}
	c := serve(t, f, rpc.Local)
	for _, kind := range kinds {
		f.err = &request.Error{Kind: kind, Code: "some-code", Text: "it is so", Hint: "do this"}
		_, err := c.Status(t.Context())
		e := known(t, err)
		equal(t, "error", []any{e.Kind, e.Code, e.Text, e.Hint}, []any{kind, "some-code", "it is so", "do this"})
	}
	f.err = errors.New("no idea")
	_, err := c.Status(t.Context())
	equal(t, "an error without a code", known(t, err).Code, "internal")
	f.err = context.DeadlineExceeded
	_, err = c.Status(t.Context())
	equal(t, "an error of time", known(t, err).Code, "timeout")
}

func TestEveryCallArrives(t *testing.T) {
	f := &fake{}
	c := serve(t, f, rpc.Local)
	ctx := t.Context()
	tests := []struct {
		name string
		call func() error
		want any
	}{
		{"apply", func() error {
			_, err := c.Apply(ctx, request.Apply{Content: []byte("x"), File: "f", DryRun: true})
			return err
		}, request.Apply{Content: []byte("x"), File: "f", DryRun: true, By: "local"}},
		{"delete", func() error {
			got, err := c.Delete(ctx, "shop")
			if err == nil && len(got.Warnings) != 1 {
				err = errors.New("the warning is lost")
			}
			return err
		}, request.Delete{Service: "shop", By: "local"}},
		{"move", func() error { _, err := c.Move(ctx, "shop", "b"); return err }, request.Move{Service: "shop", To: "b", By: "local"}},
		{"drain", func() error { return c.Drain(ctx, "b", "disk") }, request.Drain{Node: "b", Why: "disk", By: "local"}},
		{"undrain", func() error { return c.Undrain(ctx, "b") }, request.Undrain{Node: "b", By: "local"}},
		{"remove", func() error { return c.Remove(ctx, "b", true) }, request.Remove{Node: "b", Force: true, By: "local"}},
		{"clear", func() error { _, err := c.Clear(ctx, "shop", "b"); return err }, request.Clear{Service: "shop", Node: "b", By: "local"}},
		{"trust", func() error { return c.Trust(ctx, "b") }, request.Trust{Node: "b", By: "local"}},
		{"recovery", func() error { return c.SetRecovery(ctx, spec.Recovery{Share: 50}) }, request.SetRecovery{Recovery: spec.Recovery{Share: 50}, By: "local"}},
		{"events", func() error {
			_, err := c.Events(ctx, request.Events{Limit: 5000, Node: "b"})
			return err
		}, request.Events{Limit: 1000, Node: "b"}},
		{"token", func() error { _, err := c.CreateToken(ctx, time.Hour); return err }, request.Token{Valid: time.Hour, By: "local"}},
		{"join", func() error { _, err := c.Join(ctx, request.Join{Name: "d"}); return err }, request.Join{Name: "d"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.call(); err != nil {
				t.Fatal(err)
			}
			equal(t, "request", f.heard(), tt.want)
		})
	}
	one, err := c.Service(ctx, "shop")
	equal(t, "service", []any{string(one.Name), err}, []any{"shop", nil})
	n, err := c.Node(ctx, "b")
	equal(t, "node", []any{string(n.Name), err}, []any{"b", nil})
}

func TestATokenThatLastsTooLongIsRefusedHere(t *testing.T) {
	c := serve(t, &fake{}, rpc.Local)
	_, err := c.CreateToken(t.Context(), 8*24*time.Hour)
	equal(t, "code", known(t, err).Code, "bad-duration")
}

func TestANodeRenewsItsOwnCertificateOnly(t *testing.T) {
	f := &fake{}
	c := serve(t, f, as(rpc.Identity{Name: "node b", Node: "b"}))
	renewed, err := c.Renew(t.Context(), []byte("csr"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "certificate", string(renewed.Certificate), "new")
	equal(t, "request", f.heard(), any(request.Renew{Node: "b", CSR: []byte("csr")}))
}

func TestRequestsThatAreTooLargeAreRefused(t *testing.T) {
	c := serve(t, &fake{}, rpc.Local)
	_, err := c.Apply(t.Context(), request.Apply{Content: bytes.Repeat([]byte("x"), 1<<20)})
	equal(t, "a file of 1 MiB passes", err, nil)
	_, err = c.Apply(t.Context(), request.Apply{Content: bytes.Repeat([]byte("x"), 2<<20)})
	equal(t, "a larger one", known(t, err).Kind, request.Exhausted)
	err = c.Drain(t.Context(), "b", strings.Repeat("x", 100<<10))
	equal(t, "a long reason", known(t, err).Kind, request.Exhausted)
}

func TestAPanicIsAnAnswerAndTheServerGoesOn(t *testing.T) {
	f := &fake{do: func(context.Context) error { panic("oh") }}
	c := serve(t, f, rpc.Local)
	_, err := c.Status(t.Context())
	e := known(t, err)
	equal(t, "call", []any{e.Kind, e.Code}, []any{request.Internal, "internal"})
	if strings.Contains(e.Text, "oh") {
		t.Errorf("the panic is told to the caller: %s", e.Text)
	}
	err = c.WatchStatus(t.Context(), func(status.Cell) error { return nil })
	equal(t, "stream", known(t, err).Code, "internal")
	f.do = nil
	_, err = c.Status(t.Context())
	equal(t, "afterwards", err, nil)
}

func TestACallHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{do: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		began := time.Now()
		_, body := post(t, rpc.New(options(f, rpc.Local)), "/keelson.v1.CellService/GetStatus", "{}")
		equal(t, "after", time.Since(began), rpc.CallTimeout)
		if !strings.Contains(body, "deadline_exceeded") {
			t.Error(body)
		}
	})
}

func TestOneJoinTooManyIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		f := &fake{do: func(context.Context) error {
			<-release
			return nil
		}}
		h := rpc.New(options(f, as(rpc.Identity{})))
		for range rpc.MaxJoins {
			go post(t, h, "/keelson.v1.JoinService/Join", "{}")
		}
		synctest.Wait()
		_, body := post(t, h, "/keelson.v1.JoinService/Join", "{}")
		if !strings.Contains(body, "resource_exhausted") {
			t.Error(body)
		}
		close(release)
		synctest.Wait()
		code, _ := post(t, h, "/keelson.v1.JoinService/Join", "{}")
		equal(t, "afterwards", code, http.StatusOK)
	})
}

func TestWhatIsNoCallIsAnsweredPlainly(t *testing.T) {
	h := rpc.New(options(&fake{}, rpc.Local))
	code, _ := post(t, h, "/", "{}")
	equal(t, "another path", code, http.StatusNotFound)
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/keelson.v1.CellService/GetStatus", nil)
	r.Header.Set("Content-Type", "text/html")
	h.ServeHTTP(w, r)
	equal(t, "another content", w.Code, http.StatusUnsupportedMediaType)
}

func FuzzCalls(f *testing.F) {
	paths := procedures()
	f.Add(uint8(0), `{}`)
	f.Add(uint8(2), `{"content":"a2luZDogc2VydmljZQ==","file":"x","dryRun":true}`)
	f.Add(uint8(7), `{"name":"a","why":"`+strings.Repeat("x", 300)+`"}`)
	f.Add(uint8(13), `{"valid":"-315576000000s"}`)
	f.Add(uint8(14), `{"slot":4294967295,"apiPort":4294967295,"clock":"9999-12-31T23:59:59Z","labels":{"":""}}`)
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		if len(body) > 255 {
			return // the length that post writes before a stream's message
		}
		f := &fake{}
		path := paths[int(which)%len(paths)]
		if strings.HasSuffix(path, "WatchStatus") {
			return // it would last
		}
		if which >= 128 {
			// The same as protobuf; what is a stream is answered all the same.
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
			r.Header.Set("Content-Type", "application/proto")
			w := httptest.NewRecorder()
			rpc.New(options(f, rpc.Local)).ServeHTTP(w, r)
			if strings.Contains(w.Body.String(), "fault of its own") {
				t.Errorf("%s %q: %s", path, body, w.Body.String())
			}
			return
		}
		_, answer := post(t, rpc.New(options(f, as(rpc.Identity{Name: "node b", Node: "b"}))), path, body)
		if strings.Contains(answer, "fault of its own") {
			t.Errorf("%s %q: %s", path, body, answer)
		}
	})
}
