package newcomer

import (
	"errors"
	"strings"
	"testing"

	"github.com/keelson/keelson/internal/model/record"
)

func TestAddress(t *testing.T) {
	tests := []struct {
		name  string
		given string
		own   []string
		want  string
		fails string
	}{
		{name: "the only one", own: []string{"127.0.0.1", "::1", "fe80::1", "10.0.0.1"}, want: "10.0.0.1"},
		{name: "the only IPv6 one", own: []string{"::1", "2001:db8::1"}, want: "2001:db8::1"},
		{name: "the only IPv4 one besides IPv6", own: []string{"10.0.0.1", "2001:db8::1"}, want: "10.0.0.1"},
		{name: "the one given", given: "10.9.0.1", own: []string{"10.0.0.1"}, want: "10.9.0.1"},
		{name: "two", own: []string{"10.0.0.1", "10.1.0.1"}, fails: "10.0.0.1, 10.1.0.1"},
		{name: "none", own: []string{"127.0.0.1", "169.254.1.1"}, fails: "no address"},
		{name: "a name", given: "host", fails: "no IP address"},
		{name: "every address", given: "0.0.0.0", fails: "no IP address"},
		{name: "a group of servers", given: "224.0.0.1", fails: "no IP address"},
		{name: "an address of one link", given: "fe80::1", fails: "only on one link"},
		{name: "an address of one link that is named", given: "fe80::1%eth0", fails: "only on one link"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Address(tt.given, tt.own)
			if err == nil && (got != tt.want || tt.fails != "") || err != nil && (tt.fails == "" || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestServer(t *testing.T) {
	tests := []struct{ name, given, want, fails, hint string }{
		{name: "an address", given: "10.0.0.1", want: "10.0.0.1:7480"},
		{name: "an address and a port", given: "10.0.0.1:17480", want: "10.0.0.1:17480"},
		{name: "a name", given: "a.example.org", want: "a.example.org:7480"},
		{name: "a name and a port", given: "a:1", want: "a:1"},
		{name: "an IPv6 address", given: "2001:db8::1", want: "[2001:db8::1]:7480"},
		{name: "an IPv6 address in brackets", given: "[2001:db8::1]", want: "[2001:db8::1]:7480"},
		{name: "an IPv6 address and a port", given: "[2001:db8::1]:7", want: "[2001:db8::1]:7"},
		{name: "nothing", given: "", fails: `"" is no address of a node`, hint: "such as 10.0.0.1"},
		{name: "a port alone", given: ":7480", fails: `":7480" is no address of a node`, hint: "such as 10.0.0.1"},
		{name: "a port that is too high", given: "10.0.0.1:99999", fails: `10.0.0.1:99999: "99999" is no port`, hint: "ports are 1 to 65535"},
		{name: "port 0", given: "10.0.0.1:0", fails: `"0" is no port`, hint: "ports are 1 to 65535"},
		{name: "a port that is a word", given: "10.0.0.1:api", fails: `"api" is no port`, hint: "ports are 1 to 65535"},
		{name: "a page of the web", given: "https://10.0.0.1:7480/", fails: "is no address of a node", hint: "give 10.0.0.1:7480"},
		{name: "a path", given: "10.0.0.1/24", fails: "is no address of a node", hint: "such as 10.0.0.1"},
		{name: "a bracket too few", given: "[2001:db8::x", fails: "is no address of a node", hint: "such as 10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Server(tt.given)
			var said *Error
			switch {
			case tt.fails == "" && (err != nil || got != tt.want):
				t.Errorf("%q, %v", got, err)
			case tt.fails != "" && (!errors.As(err, &said) || !strings.Contains(said.Text, tt.fails) || !strings.Contains(said.Hint, tt.hint)):
				t.Errorf("%q, %+v", got, said)
			}
		})
	}
}

func TestWhatCouldNotWorkIsRefused(t *testing.T) {
	usual := record.Ports{API: DefaultAPI, Link: DefaultLink, Peer: DefaultPeer, Client: DefaultClient}
	with := func(change func(*record.Ports)) error {
		p := usual
		change(&p)
		return Ports(p)
	}
	tests := []struct {
		name string
		err  error
		says string // empty: it is right
	}{
		{"the usual ports", Ports(usual), ""},
		{"one number for TCP and UDP", with(func(p *record.Ports) { p.API = DefaultLink }), ""},
		{"two ports that are one", with(func(p *record.Ports) { p.API, p.Peer = 7481, 7481 }), "--api-port and --peer-port are both 7481"},
		{"a port that another has already", with(func(p *record.Ports) { p.Client = DefaultAPI }), "--api-port and --client-port are both 7480"},
		{"port 0", with(func(p *record.Ports) { p.API = 0 }), "--api-port: 0 is no port"},
		{"a port that is too high", with(func(p *record.Ports) { p.Link = 65536 }), "--link-port: 65536 is no port"},
		{"a loopback node that joins another server", Reaches("127.0.0.1", "10.0.0.1:7480"), "no other server reaches this one by 127.0.0.1"},
		{"a loopback node that joins one on loopback", Reaches("127.0.0.2", "127.0.0.1:7480"), ""},
		{"a node that joins through a tunnel", Reaches("10.0.0.2", "127.0.0.1:7480"), ""},
		{"the usual folders", Folders("/var/lib/keelson", "/run/keelson"), ""},
		{"no folder for its state", Folders("", "/run/keelson"), "--data names no folder"},
		{"no folder for its sockets", Folders("/var/lib/keelson", ""), "--run names no folder"},
		{"a folder that is too long for a socket", Folders("/d", "/"+strings.Repeat("r", 96)), "--run is too long for the sockets in it: it has 97 bytes"},
		{"a link of another network", Links("10.0.0.1", []string{"10.1.0.1"}), ""},
		{"a link that is the address", Links("10.0.0.1", []string{"10.0.0.1"}), "already"},
		{"a link on loopback", Links("10.0.0.1", []string{"::1"}), "this server alone"},
		{"a link that is no address", Links("10.0.0.1", []string{"b"}), "no IP address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if (tt.err == nil) != (tt.says == "") || tt.err != nil && !strings.Contains(tt.err.Error(), tt.says) {
				t.Errorf("it says %v, want %q", tt.err, tt.says)
			}
		})
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("a=b")
	f.Add("=")
	f.Fuzz(func(t *testing.T, word string) {
		labels, err := Labels([]string{word})
		if err == nil && len(labels) != 1 {
			t.Errorf("%q gives %v", word, labels)
		}
	})
}
