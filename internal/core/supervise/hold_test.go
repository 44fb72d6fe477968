package supervise

import (
	"testing"
	"time"

	"github.com/keelson/keelson/internal/model/fact"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestACopyWhoseBanEndsStartsAgain(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	no := 0
	service := &record.Service{ID: 1, Generation: 1, Spec: spec.Service{
		Name: "web", Copies: &spec.Copies{Count: 2}, Failover: spec.Failover{Restarts: &no, Within: spec.Duration(time.Minute)},
		Parts: []spec.Part{{Exec: &spec.Exec{Command: []string{"/bin/web"}}}},
	}.Normalize()}
	again := *service
	again.Generation++
	tests := []struct {
		name string
		then func(*Input)
	}{
		{"by itself", func(in *Input) { in.Now, in.Boot = in.Now.Add(time.Minute), in.Boot+time.Minute }},
		{"by an operator's word", func(in *Input) { in.Wish.Cleared = noon.UnixNano() }},
		{"with another spec", func(in *Input) { in.Wish.Service = &again }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st, in := New(), Input{Now: noon, Boot: time.Hour, Wish: Wish{Service: service, Copy: true, Placed: 1, Right: Right{Rank: -1}}}
			step := func() Decision {
				st.Look(&in, [spec.MaxPrimaries]Right{}, func(int) Hold { return Hold{Known: true} })
				next, d := Step(st, in)
				st, in.Done, in.Died = next, nil, nil
				return d
			}
			for _, done := range []Kind{Start, None, Stop, Release, None} {
				switch d := step(); {
				case d.Op.Kind != done:
					t.Fatalf("it does %q, want %q", d.Op.Kind, done)
				case done == Start || done == Stop:
					in.Done = &Result{}
				case done == None && st.Phase == fact.Running:
					in.Died = []Death{{Ended: true, Why: "it ended"}}
				}
			}
			tt.then(&in)
			for range 3 {
				d := step()
				if d.Op.Kind == Start {
					return
				}
				if d.Wake == 0 || d.Wake > time.Second {
					t.Fatalf("it is %s and looks again after %s", st.Phase, d.Wake)
				}
				in.Now, in.Boot = in.Now.Add(d.Wake), in.Boot+d.Wake
			}
			t.Errorf("it is %s and does not start", st.Phase)
		})
	}
}

// A copy that may not run where it is to be has nothing to give back, however
// often it is asked: whoever carries releases out asks again at once.
func TestACopyThatMayNotRunGivesNothingBack(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	no := 0
	service := &record.Service{ID: 1, Generation: 1, Spec: spec.Service{
		Name: "web", Copies: &spec.Copies{Count: 2}, Failover: spec.Failover{Restarts: &no},
		Parts: []spec.Part{{Exec: &spec.Exec{Command: []string{"/bin/web"}}}},
	}.Normalize()}
	stopped := *service
	stopped.Spec.Stopped = true
	deleted := *service
	deleted.Deleting = true
	tests := []struct {
		name  string
		then  *record.Service
		died  []Death
		phase fact.Phase
	}{
		{"it failed too often", service, []Death{{Ended: true, Why: "it ended"}}, fact.Failed},
		{"it is told to be stopped", &stopped, nil, fact.Idle},
		{"it is being deleted", &deleted, nil, fact.Idle},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st, in := New(), Input{Now: noon, Boot: time.Hour, Wish: Wish{Service: service, Copy: true, Placed: 1, Right: Right{Rank: -1}}}
			releases := 0
			// turn asks until there is nothing more to do at once, as a runner does.
			turn := func() Decision {
				for range 10 {
					st.Look(&in, [spec.MaxPrimaries]Right{}, func(int) Hold { return Hold{Known: true} })
					next, d := Step(st, in)
					st, in.Done, in.Died = next, nil, nil
					if d.Op.Kind != Release {
						return d
					}
					releases++
				}
				t.Fatal("it goes on giving back what it does not use")
				return Decision{}
			}
			if d := turn(); d.Op.Kind != Start {
				t.Fatalf("it begins with %+v", d.Op)
			}
			in.Done = &Result{}
			turn()
			in.Wish.Service, in.Died = tt.then, tt.died
			if d := turn(); d.Op.Kind != Stop {
				t.Fatalf("it goes on with %+v", d.Op)
			}
			in.Done = &Result{}
			turn()
			if st.Phase != tt.phase || releases != 1 {
				t.Errorf("it is %s after %d releases", st.Phase, releases)
			}
		})
	}
}
