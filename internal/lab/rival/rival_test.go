package rival

import (
	"context"
	"encoding/xml"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/lab"
)

func TestMain(m *testing.M) {
	lab.MaybeRunInner()
	os.Exit(m.Run())
}

func three() (hosts, addresses []string) {
	return []string{"h1", "h2", "h3"}, []string{"10.77.0.1", "10.77.0.2", "10.77.0.3"}
}

func vip() netip.Prefix { return netip.MustParsePrefix("10.77.0.100/24") }

func TestTheDefaultIsWhatPcsWrites(t *testing.T) {
	if _, err := exec.LookPath("pcs"); err != nil {
		t.Skip("SKIPPED: this needs the Debian package pcs")
	}
	hosts, addresses := three()
	path := filepath.Join(t.TempDir(), "corosync.conf")
	args := []string{"cluster", "setup", "lab"}
	for i, h := range hosts {
		args = append(args, h, "addr="+addresses[i])
	}
	cmd := exec.CommandContext(t.Context(), "pcs", append(args, "--corosync_conf", path)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(essence(string(text)), essence(Totem{}.text(hosts, addresses))); diff != "" {
		t.Errorf("corosync.conf (-pcs +ours):\n%s", diff)
	}
}

// essence is what of corosync.conf has to do with clustering.
func essence(text string) []string {
	text, _, _ = strings.Cut(text, "logging {")
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "cluster_uuid:") {
			out = append(out, line)
		}
	}
	return out
}

func TestTotemIsWrittenInMilliseconds(t *testing.T) {
	hosts, addresses := three()
	text := Totem{
		Token: 300 * time.Millisecond, Consensus: 360 * time.Millisecond, PingInterval: 200 * time.Millisecond, PingTimeout: 2 * time.Second,
	}.text(hosts, addresses)
	totem, _, _ := strings.Cut(text, "nodelist")
	want := []string{
		"totem {", "version: 2", "cluster_name: lab", "transport: knet", "crypto_cipher: aes256", "crypto_hash: sha256",
		"token: 300", "token_coefficient: 0", "consensus: 360",
		"interface {", "linknumber: 0", "knet_ping_interval: 200", "knet_ping_timeout: 2000", "}", "}",
	}
	if diff := cmp.Diff(want, essence(totem)); diff != "" {
		t.Errorf("totem (-want +got):\n%s", diff)
	}
}

func TestMembershipsAreCountedOnceForAllHosts(t *testing.T) {
	one := "Nov 23 10:00:00 [1] h1 corosync notice  [TOTEM ] A new membership (1.5) was formed. Members joined: 1\n"
	two := strings.ReplaceAll(one, "1.5", "1.9")
	if n := memberships(one+two, two+"rubbish A new membership (", ""); n != 2 {
		t.Errorf("%d memberships, not 2", n)
	}
}

func TestTheConfigurationIsXML(t *testing.T) {
	for _, p := range []Pacemaker{{}, {Monitor: time.Second, DCDeadtime: 2 * time.Second}} {
		var any struct{}
		text := p.configuration(vip())
		if err := xml.Unmarshal([]byte(text), &any); err != nil {
			t.Errorf("%v in %s", err, text)
		}
		if strings.Contains(text, "dc-deadtime") != (p.DCDeadtime > 0) {
			t.Errorf("what is left at its default is written: %s", text)
		}
	}
}

const said = `<pacemaker-result api-version="2.25"><summary><current_dc present="true" name="h2"/></summary>
<nodes>
 <node name="h2" online="true" unclean="false" pending="false"/>
 <node name="h1" online="true" unclean="false" pending="false"/>
 <node name="h3" online="false" unclean="false" pending="false"/>
</nodes>
<resources><group id="service">
 <resource id="address" role="Started" failed="false"><node name="h1"/></resource>
 <resource id="program" role="Started" failed="false"><node name="h1"/></resource>
</group></resources></pacemaker-result>`

func TestViewsOfACluster(t *testing.T) {
	hosts, _ := three()
	healed := strings.Replace(said, `"h3" online="false"`, `"h3" online="true"`, 1)
	for _, c := range []struct {
		name  string
		views []string
		amiss string
	}{
		{"all agree", []string{healed, healed, healed}, ""},
		{"a host is away", []string{healed, said, healed}, "h2 sees [h1 h2]"},
		{"a host is not in yet", []string{healed, strings.Replace(healed, `pending="false"`, `pending="true"`, 1)}, "h2 sees [h1 h3]"},
		{"nobody coordinates", []string{strings.Replace(healed, `present="true"`, `present="false"`, 1)}, "h1 sees no coordinator"},
		{"a part is stopped", []string{strings.Replace(healed, `"program" role="Started"`, `"program" role="Stopped"`, 1)}, "h1 sees the service whole on []"},
		{"a part has failed", []string{strings.Replace(healed, `failed="false"`, `failed="true"`, 1)}, "h1 sees the service whole on []"},
		{"they are of two minds", []string{healed, strings.ReplaceAll(healed, `<node name="h1"/>`, `<node name="h2"/>`)}, "h2 sees the service on h2, another on h1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []view
			for _, text := range c.views {
				v, err := parseView([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, v)
			}
			got := ""
			if err := agree(hosts, all); err != nil {
				got = err.Error()
			}
			if got != c.amiss {
				t.Errorf("%q, not %q", got, c.amiss)
			}
		})
	}
	if _, err := parseView([]byte("Critical: not connected")); err == nil {
		t.Error("what is no XML was read")
	}
}

func TestKeepalivedKnowsItsVersion(t *testing.T) {
	slow, fast := Keepalived{Advert: time.Second}.text("h1", 0, vip()), Keepalived{Advert: 10 * time.Millisecond}.text("h3", 2, vip())
	for text, want := range map[string][]string{slow: {"priority 150", "advert_int 1\n"}, fast: {"priority 50", "advert_int 0.01\n", "vrrp_version 3"}} {
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("there is no %q in\n%s", w, text)
			}
		}
	}
	if strings.Contains(slow, "vrrp_version") {
		t.Error("at 1 s it is not the default version")
	}
}

func TestKeepalivedOnHosts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: keepalived needs root")
	}
	hosts, _ := three()
	l, err := lab.New(t.Context(), lab.Options{Hosts: hosts})
	if errors.Is(err, lab.ErrForbidden) {
		t.Skipf("SKIPPED: this needs a machine on which a lab can be made: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := StartKeepalived(t.Context(), Site{Lab: l, Hosts: hosts, Address: vip()}, Keepalived{Advert: 100 * time.Millisecond})
	if errors.Is(err, ErrMissing) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Host("h1").Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := await(t.Context(), func(ctx context.Context) error {
		_, err := c.site.run(ctx, "h2", "/bin/sh", "-c", "ip -4 address show dev eth0 | grep -q "+vip().String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.Boot(t.Context(), "h1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Settled(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Alarms(t.Context()); err != nil || n < 3 {
		t.Errorf("the address was taken %d times, %v; the first host, the second, and the first again took it", n, err)
	}
}
