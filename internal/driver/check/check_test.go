package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/keelson/keelson/internal/base/clock"
	"github.com/keelson/keelson/internal/base/command"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sentence returns the error as text, "" for none.
func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// bare runs programs with that environment, as the user of this test.
func bare(env ...string) Program {
	return func(ctx context.Context, argv []string, outputBytes int) (command.Result, error) {
		return command.Run(ctx, command.Command{Path: argv[0], Args: argv[1:], Env: env, OutputBytes: outputBytes, Timeout: time.Hour})
	}
}

func serve(t *testing.T, secure bool) string {
	t.Helper()
	release := make(chan struct{})
	mux := http.NewServeMux()
	for _, status := range []int{200, 204, 302, 399, 400, 404, 503} {
		mux.HandleFunc(fmt.Sprintf("/%d", status), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/503") // a redirect that is followed would fail
			w.WriteHeader(status)
		})
	}
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-release })
	mux.HandleFunc("/slowbody", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = nil
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) }) // first
	return server.URL
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestOnceHTTP(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // must not be used
	plain, secure, closed := serve(t, false), serve(t, true), closedPort(t)
	short := spec.Duration(50 * time.Millisecond)
	long := spec.Duration(20 * time.Second)
	tests := []struct {
		name    string
		url     string
		timeout spec.Duration
		want    string
	}{
		{"success passes", plain + "/200", long, ""},
		{"no content passes", plain + "/204", long, ""},
		{"a redirect passes and is not followed", plain + "/302", long, ""},
		{"the last status that passes", plain + "/399", long, ""},
		{"the first status that fails", plain + "/400", long, plain + "/400 answered with status 400"},
		{"a server's error fails", plain + "/503", long, plain + "/503 answered with status 503"},
		{"a certificate of its own passes", secure + "/200", long, ""},
		{"an endless body is cut off and passes", plain + "/endless", long, ""},
		{"no answer", plain + "/slow", short, plain + "/slow did not answer: no answer in 50ms"},
		{"half an answer", plain + "/slowbody", short, plain + "/slowbody did not finish its answer: no answer in 50ms"},
		{"nobody listens", "http://" + closed + "/", long, "http://" + closed + "/ did not answer: connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := sentence(Once(t.Context(), spec.Check{HTTP: tt.url, Timeout: tt.timeout}, nil))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sentence (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnceTCP(t *testing.T) {
	open, closed := strings.TrimPrefix(serve(t, false), "http://"), closedPort(t)
	for _, tt := range []struct{ name, address, want string }{
		{"a port that accepts passes", open, ""},
		{"a port that refuses fails", closed, closed + " did not accept a connection: connection refused"},
		{
			"an address that is none fails", "127.0.0.1",
			"127.0.0.1 did not accept a connection: dial tcp: address 127.0.0.1: missing port in address",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sentence(Once(t.Context(), spec.Check{TCP: tt.address, Timeout: spec.Duration(20 * time.Second)}, nil))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sentence (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnceProgram(t *testing.T) {
	long := spec.Duration(20 * time.Second)
	for _, tt := range []struct {
		name    string
		script  string
		timeout spec.Duration
		want    string
	}{
		{"a clean exit passes", "exit 0", long, ""},
		{"another status fails, with what it said", "echo no  disk; echo 'at all' >&2; exit 2", long, "/bin/sh exited with status 2: no disk at all"},
		{"silence needs no words", "exit 1", long, "/bin/sh exited with status 1"},
		{"a signal fails", "kill -SEGV $$", long, "/bin/sh was killed by signal SEGV"},
		{"too long fails", "echo a; sleep 1000", spec.Duration(100 * time.Millisecond), "/bin/sh took too long: more than 100ms: a"},
		{"the environment is the one given", "[ \"$A$HOME\" = b ]", long, ""},
		{
			"long output is cut", "head -c 500 /dev/zero | tr '\\0' x; exit 1", long,
			"/bin/sh exited with status 1: " + strings.Repeat("x", 200) + " ...",
		},
		{
			"control characters and half characters do no harm", "printf '\\033[31m'; head -c 194 /dev/zero | tr '\\0' x; printf 'ää'; exit 1", long,
			"/bin/sh exited with status 1: ?[31m" + strings.Repeat("x", 194) + " ...",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := spec.Check{Exec: []string{"/bin/sh", "-c", tt.script}, Timeout: tt.timeout}
			got := sentence(Once(t.Context(), c, bare("A=b", "PATH=/bin:/usr/bin")))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sentence (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnceRefusesWhatAsksNothing(t *testing.T) {
	for _, c := range []spec.Check{{}, {HTTP: "http://a", TCP: "a:1"}} {
		if err := Once(t.Context(), c, nil); !errors.Is(err, ErrNoQuestion) {
			t.Errorf("%+v: %v, want ErrNoQuestion", c, err)
		}
	}
}

func TestOnceEndsWithItsContext(t *testing.T) {
	url := serve(t, false)
	hour := spec.Duration(time.Hour)
	for _, c := range []spec.Check{
		{HTTP: url + "/slow", Timeout: hour},
		{Exec: []string{"/bin/sleep", "1000"}, Timeout: hour},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := Once(ctx, c, bare()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want the context's error", c.Kind(), err)
		}
		cancel()
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		judge   Judge
		answers string // + and -
		want    string // a word for each change, after the number of the answer
	}{
		{"the first success is a verdict", Judge{Failures: 3, Successes: 1}, "+++", "1 passing"},
		{"failures must be in a row", Judge{Failures: 3, Successes: 1}, "+--+--+---", "1 passing, 10 failing"},
		{"a first verdict can be a no", Judge{Failures: 2, Successes: 2}, "-+--", "4 failing"},
		{"a verdict is told once", Judge{Failures: 1, Successes: 1}, "----", "1 failing"},
		{"successes must be in a row, too", Judge{Failures: 1, Successes: 3}, "-++-+++", "1 failing, 7 passing"},
		{"the zero judge changes with every answer", Judge{}, "+-+", "1 passing, 2 failing, 3 passing"},
		{"nothing asked, nothing known", Judge{Failures: 3, Successes: 3}, "++--", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			j := tt.judge
			for i, answer := range tt.answers {
				before := j.Verdict
				var changed bool
				j, changed = j.Note(answer == '+')
				if changed != (before != j.Verdict) {
					t.Errorf("answer %d: changed is %t, but the verdict went from %s to %s", i+1, changed, before, j.Verdict)
				}
				if changed {
					got = append(got, fmt.Sprintf("%d %s", i+1, j.Verdict))
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatchAsksInTimeAndReportsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got []string
		say := func(format string, args ...any) {
			got = append(got, fmt.Sprintf("%v ", time.Since(start))+fmt.Sprintf(format, args...))
		}
		answers := []error{errors.New("one"), nil, errors.New("three"), errors.New("four"), nil}
		ctx, cancel := context.WithCancel(t.Context())
		w := Watch{
			Clock: clock.System{},
			Check: spec.Check{
				TCP: "a:1", Every: spec.Duration(time.Second), After: spec.Duration(5 * time.Second), Failures: 2,
			},
			Ask: func(ctx context.Context, _ spec.Check, _ Program) error {
				if len(answers) == 0 {
					cancel()
					return ctx.Err()
				}
				say("asked")
				err := answers[0]
				answers = answers[1:]
				if len(answers) == 2 { // a slow answer delays the next, but does not shift all
					time.Sleep(1500 * time.Millisecond)
				}
				return err
			},
		}
		err := w.Run(ctx, func(v Verdict, why string) { say("%s %q", v, why) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v, want canceled", err)
		}
		want := []string{
			"5s asked", "6s asked", `6s passing ""`, "7s asked", "8.5s asked", `8.5s failing "four"`, "9s asked", `9s passing ""`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what happened (-want +got):\n%s", diff)
		}
	})
}

func TestWatchEndsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := Watch{Clock: clock.System{}, Check: spec.Check{TCP: "a:1", After: spec.Duration(time.Minute)}}
		report := func(v Verdict, why string) { t.Errorf("reported %s, %s", v, why) }
		if err := w.Run(ctx, report); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("run: %v", err)
		}
	})
}
