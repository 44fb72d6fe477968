package specfile

import (
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/goccy/go-yaml/ast"

	"github.com/keelson/keelson/internal/model/spec"
)

// MaxAgentBytes bounds the agent's own file, in bytes.
const MaxAgentBytes = 64 << 10

// DefaultPrefix keeps a cell's keys apart from others in the same etcd.
const DefaultPrefix = "/keelson/"

// Agent is the agent's own file. All of it is optional.
type Agent struct {
	// Store names an existing etcd cluster to use instead of the cell's own.
	Store *ExternalStore
	// Watchdog is the path of the device that restarts this host if its guard
	// hangs; empty: none is used.
	Watchdog string
}

// ExternalStore is an etcd cluster of the operator's own.
type ExternalStore struct {
	Endpoints []string // "https://host:2379"; at least one
	// CA, Cert and Key are paths of PEM files; empty: none. Cert and Key go
	// together.
	CA, Cert, Key string
	Prefix        string // of all keys; never empty
}

// ReadAgent returns what the agent's own file says. It is as strict as [Read]: the
// error is of type [Problems], and then nothing is returned. name appears in
// problems only. ReadAgent never panics, whatever content is.
func ReadAgent(name string, content []byte) (Agent, error) {
	src := source{name: name}
	if len(content) > MaxAgentBytes {
		return Agent{}, Problems{src.problem(place{}, "", TooLarge,
			fmt.Sprintf("the file has more than %v", spec.Size(MaxAgentBytes)), "it needs no more than a few lines")}
	}
	documents, err := src.read(content)
	if err != nil || len(documents) == 0 {
		return Agent{}, err
	}
	d := &decoder{source: src, places: places{}, unread: map[string]unread{}}
	if len(documents) > 1 {
		second := d.value(documents[1].Body, "", place{})
		d.problem(second, TooManyDocuments, "the file has a second document", "write all of it in one, without ---")
	}
	var a Agent
	d.mapping(d.value(documents[0].Body, "", place{}), "a mapping such as watchdog: /dev/watchdog", []key{
		{"watchdog", d.pathText(&a.Watchdog, "/dev/watchdog")},
		{"store", d.externalStore(&a.Store)},
	})
	if len(d.problems) > 0 {
		return Agent{}, d.problems
	}
	return a, nil
}

// externalStore reads the operator's own etcd; a key without a value is none.
func (d *decoder) externalStore(to **ExternalStore) func(value) {
	return func(v value) {
		if _, nothing := v.node.(*ast.NullNode); nothing {
			return
		}
		e := &ExternalStore{Prefix: DefaultPrefix}
		before := len(d.problems)
		d.mapping(v, "a mapping that begins with endpoints:", []key{
			{"endpoints", d.endpoints(&e.Endpoints)},
			{"ca", d.pathText(&e.CA, "/etc/keelson/etcd-ca.pem")},
			{"cert", d.pathText(&e.Cert, "/etc/keelson/etcd.pem")},
			{"key", d.pathText(&e.Key, "/etc/keelson/etcd.key")},
			{"prefix", text(d, &e.Prefix)},
		})
		*to = e
		if len(d.problems) > before {
			return
		}
		if len(e.Endpoints) == 0 {
			d.problem(v, MissingKey, "store.endpoints is missing", "list the etcd servers, such as https://10.0.0.9:2379")
		}
		if (e.Cert == "") != (e.Key == "") {
			d.problem(v, spec.Clash, "store.cert and store.key go together", "give both or neither")
		}
		if e.Prefix == "" {
			e.Prefix = DefaultPrefix
		}
	}
}

// endpoints reads where etcd's servers are.
func (d *decoder) endpoints(to *[]string) func(value) {
	return func(v value) {
		for _, item := range d.items(v, "a list such as [https://10.0.0.9:2379]") {
			var e string
			before := len(d.problems)
			text(d, &e)(item)
			u, err := url.Parse(e)
			if len(d.problems) == before && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "") {
				d.problem(item, BadValue, fmt.Sprintf("%q is not where an etcd server is", clip(e, 60)), "write it with https:// or http://, such as https://10.0.0.9:2379")
			}
			*to = append(*to, e)
		}
	}
}

// pathText reads the path of a file such as that one; the agent is started from
// anywhere.
func (d *decoder) pathText(to *string, such string) func(value) {
	return func(v value) {
		before := len(d.problems)
		text(d, to)(v)
		if len(d.problems) == before && *to != "" && !filepath.IsAbs(*to) {
			d.problem(v, BadValue, fmt.Sprintf("%q is no path such as %s", clip(*to, 60), such), "name the file, with its folder")
		}
	}
}
