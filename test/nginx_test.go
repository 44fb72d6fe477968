//go:build integration

package test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/keelson/keelson/internal/lab"
	"github.com/keelson/keelson/internal/lab/probe"
)

const nginxBinary = "/usr/sbin/nginx"

// nginxService is Debian's nginx behind the address, as an operator would write
// it.
const nginxService = `kind: service
name: nginx
parts:
  - address: 10.77.0.120/24
  - exec: [/usr/sbin/nginx, -c, /etc/shop/nginx.conf, -g, "daemon off;"]
    check: {http: "http://10.77.0.120/", every: 500ms}
`

// nginxConf answers with the name of the host, and with enough of it to take
// more than one packet.
const nginxConf = `worker_processes 2;
error_log stderr warn;
pid /run/shop-nginx.pid;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path /tmp/nginx-body;
  proxy_temp_path /tmp/nginx-proxy;
  fastcgi_temp_path /tmp/nginx-fastcgi;
  uwsgi_temp_path /tmp/nginx-uwsgi;
  scgi_temp_path /tmp/nginx-scgi;
  keepalive_requests 100000;
  server {
    listen 10.77.0.120:80;
    default_type application/json;
    location / { return 200 '{"host":"%s"}'; }
  }
}
`

// TestNginxUnderLoad counts what clients lose of a real web server.
func TestNginxUnderLoad(t *testing.T) {
	if _, err := os.Stat(nginxBinary); err != nil {
		t.Skip("SKIPPED: nginx is not installed: apt-get install nginx-light")
	}
	b := newBench(t, 3)
	for _, h := range b.nodes {
		b.ready(b.lab.Host(h).WriteFile(t.Context(), "/etc/shop/nginx.conf", fmt.Appendf(nil, nginxConf, h), 0o644))
	}
	b.ready(b.cell.Apply(t.Context(), nginxService))
	b.service, b.ip, b.url = "nginx", "10.77.0.120", "http://10.77.0.120/"
	b.probe()
	b.answered(boot())
	b.step("a planned move", func(b *bench) {
		was := b.holder()
		b.underLoad(func() {
			fault := boot()
			b.t.Log(b.keelson(was, "move", b.service))
			b.movedFrom(fault, was)
		})
	})
	b.step("a killed host", func(b *bench) {
		was := b.holder()
		b.underLoad(func() {
			fault := boot()
			b.ready(b.lab.Host(was).Kill(b.t.Context()))
			b.movedFrom(fault, was)
		})
		b.ready(b.cell.Boot(b.t.Context(), was))
		b.whole()
	})
}

// underLoad does something while clients with connections that stay open ask
// for the service, and prints how many of their requests failed.
func (b *bench) underLoad(f func()) {
	b.t.Helper()
	load, err := b.lab.Host(client).Load(b.t.Context(), probe.Load{URL: b.url, Connections: 8})
	b.ready(err)
	time.Sleep(time.Second)
	before := last(load)
	if before.Requests == 0 || before.Failed > 0 {
		b.t.Fatalf("the service does not stand the load: %+v", before)
	}
	f()
	time.Sleep(time.Second)
	counts, err := load.Stop(b.t.Context())
	b.ready(err)
	after := counts[len(counts)-1]
	b.t.Logf("of %d requests on 8 open connections %d failed (%s)", after.Requests, after.Failed, after.LastErr)
	asked, failed := 0, 0
	for _, r := range b.http.Since(0) {
		asked++
		if !r.OK {
			failed++
		}
	}
	b.t.Logf("of %d requests on connections of their own, one every 5 ms, %d failed", asked, failed)
	if after.Requests == before.Requests {
		b.t.Error("the load ended with the fault")
	}
}

func last(load *lab.Stream[probe.LoadCount]) probe.LoadCount {
	all := load.Since(0)
	if len(all) == 0 {
		return probe.LoadCount{}
	}
	return all[len(all)-1]
}
