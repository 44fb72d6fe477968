package app

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/record"
)

func TestParseLocal(t *testing.T) {
	const good = `"format":1,"cell":"main","cell_id":"c1","node":"a","node_id":"n1","slot":3,"address":"10.0.0.1"`
	tests := []struct {
		name    string
		content string
		want    local
		fails   bool
	}{
		{
			name: "ports have defaults", content: "{" + good + `,"ports":{"api":7000}}`,
			want: local{
				Format: 1, Cell: "main", CellID: "c1", Node: "a", NodeID: "n1", Slot: 3, Address: "10.0.0.1",
				Ports: record.Ports{API: 7000, Link: 7481, Peer: 7482, Client: 7483},
			},
		},
		{name: "nothing", content: "", fails: true},
		{name: "an empty object", content: "{}", fails: true},
		{name: "another format", content: `{"format":2,"cell_id":"c","node":"a","address":"10.0.0.1"}`, fails: true},
		{name: "a name that leaves its folder", content: `{"format":1,"cell_id":"c","node":"../a","address":"10.0.0.1"}`, fails: true},
		{name: "a slot that no cell has", content: `{"format":1,"cell_id":"c","node":"a","slot":32,"address":"10.0.0.1"}`, fails: true},
		{name: "no address", content: `{"format":1,"cell_id":"c","node":"a"}`, fails: true},
		{name: "a port that is none", content: "{" + good + `,"ports":{"peer":-1}}`, fails: true},
		{name: "more than one value", content: "{" + good + "}{}", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseLocal([]byte(tt.content))
			if tt.fails != errors.Is(err, errNoIdentity) {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseLocal(f *testing.F) {
	f.Add([]byte(`{"format":1,"cell_id":"c","node":"a","address":"::1","labels":{"a":"b"},"links":["10.0.0.1"]}`))
	f.Add([]byte(`{"format":1,"cell_id":"c","node":"a","address":"10.0.0.1","slot":31,"ports":{"api":65535}}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLocal(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseLocal(again); err != nil {
			t.Errorf("what was read cannot be read again: %v\n%s", err, again)
		}
	})
}

func TestEraseLeavesNothingButTheKeptOutput(t *testing.T) {
	f := folders{data: t.TempDir(), run: t.TempDir()}
	for _, name := range []string{
		"node.json", "founding.json", "guard-incarnation", "agent.lock", "last-known.json", "last-known.json.removed", "pki/node.key", "pki/ca.crt",
		"etcd/member/snap/db", "etcd.removed-20261123T120000.000Z/member/wal/0.wal", "logs/shop/web/current",
	} {
		path := filepath.Join(f.data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second time there is nothing to do
		if err := f.erase(); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	err := filepath.WalkDir(f.data, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(f.data, path)
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"logs/shop/web/current"}, left); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}
