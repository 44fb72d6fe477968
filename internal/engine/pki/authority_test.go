package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/record"
)

// facts are what matters of a certificate.
type facts struct {
	Name, NodeID string
	DNS, IPs     []string
	URIs         []string
	From, To     time.Time
	Use          x509.KeyUsage
	For          []x509.ExtKeyUsage
	CA           bool
}

func factsOf(c *x509.Certificate) facts {
	f := facts{
		Name: c.Subject.CommonName, NodeID: c.Subject.SerialNumber, DNS: c.DNSNames,
		From: c.NotBefore, To: c.NotAfter, Use: c.KeyUsage, For: c.ExtKeyUsage, CA: c.IsCA,
	}
	for _, ip := range c.IPAddresses {
		f.IPs = append(f.IPs, ip.String())
	}
	for _, uri := range c.URIs {
		f.URIs = append(f.URIs, uri.String())
	}
	return f
}

func TestCertificatesSayWhoAndForHowLong(t *testing.T) {
	a, err := NewAuthority("c0ffee", "lab", start)
	must(t, err)
	files := NewFiles(t.TempDir())
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}

	t.Run("the authority signs leaves only, for ten years", func(t *testing.T) {
		want := facts{
			Name: "Keelson cell lab", URIs: []string{"keelson://c0ffee"}, CA: true,
			From: start.Add(-time.Hour), To: start.Add(AuthorityLife), Use: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		if diff := cmp.Diff(want, factsOf(a.Certificate())); diff != "" {
			t.Errorf("certificate (-want +got):\n%s", diff)
		}
		if c := a.Certificate(); c.MaxPathLen != 0 || !c.MaxPathLenZero {
			t.Errorf("path length is %d", c.MaxPathLen)
		}
	})
	t.Run("a node's certificate has its name, addresses and id", func(t *testing.T) {
		issued, err := a.SignNode(csrFor(t, files, "db-1"), record.Node{
			Name: "db-1", ID: "1d", Address: "db-1.example.org", Links: []string{"10.1.0.1", "fd00::1", "10.1.0.1"},
		}, start)
		must(t, err)
		want := facts{
			Name: "db-1", NodeID: "1d", URIs: []string{"keelson://c0ffee/node/db-1"},
			DNS: []string{"db-1", "keelson-node", "db-1.example.org"}, IPs: []string{"10.1.0.1", "fd00::1"},
			From: start.Add(-time.Hour), To: start.Add(30 * 24 * time.Hour), Use: x509.KeyUsageDigitalSignature, For: both,
		}
		cert := parse(t, issued.Certificate)
		if diff := cmp.Diff(want, factsOf(cert)); diff != "" {
			t.Errorf("certificate (-want +got):\n%s", diff)
		}
		id, err := identityOf(cert)
		must(t, err)
		wantID := Identity{Cell: "c0ffee", Serial: issued.Serial, Node: "db-1", NodeID: "1d"}
		if diff := cmp.Diff(wantID, id); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
	})
	t.Run("an operator's certificate is for a client with a role", func(t *testing.T) {
		issued, err := a.SignOperator(csrFor(t, files, "Ann Bell"), "Ann Bell", Viewer, 10*OperatorLife, start)
		must(t, err)
		want := facts{
			Name: "Ann Bell", URIs: []string{"keelson://c0ffee/operator/viewer"},
			From: start.Add(-time.Hour), To: start.Add(OperatorLife), Use: x509.KeyUsageDigitalSignature,
			For: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		cert := parse(t, issued.Certificate)
		if diff := cmp.Diff(want, factsOf(cert)); diff != "" {
			t.Errorf("certificate (-want +got):\n%s", diff)
		}
		id, err := identityOf(cert)
		must(t, err)
		wantID := Identity{Cell: "c0ffee", Serial: issued.Serial, Operator: "Ann Bell", Role: Viewer}
		if diff := cmp.Diff(wantID, id); diff != "" {
			t.Errorf("identity (-want +got):\n%s", diff)
		}
	})
	t.Run("nothing outlives the authority", func(t *testing.T) {
		late := start.Add(AuthorityLife - time.Hour)
		issued, err := a.SignNode(csrFor(t, files, "a"), record.Node{Name: "a", Address: "10.0.0.1"}, late)
		must(t, err)
		if !issued.Expires.Equal(a.Certificate().NotAfter) {
			t.Errorf("expires %s", issued.Expires)
		}
		_, err = a.SignNode(csrFor(t, files, "a"), record.Node{Name: "a"}, late.Add(2*time.Hour))
		wantError(t, err, ErrCertificateExpired)
	})
	t.Run("a signer whose clock is behind still makes a valid chain", func(t *testing.T) {
		issued, err := a.SignNode(csrFor(t, files, "a"), record.Node{Name: "a", Address: "10.0.0.1"}, start.Add(-time.Minute))
		must(t, err)
		_, err = checkServer([]*x509.Certificate{parse(t, issued.Certificate)}, poolOf(a.Certificate()), start.Add(-time.Hour))
		wantError(t, err, nil)
	})
	t.Run("a role that does not exist is refused", func(t *testing.T) {
		_, err := a.SignOperator(csrFor(t, files, "ann"), "ann", "root", time.Hour, start)
		wantError(t, err, ErrRequest)
	})
}

func TestAuthorityOf(t *testing.T) {
	one, err := NewAuthority("1", "one", start)
	must(t, err)
	two, err := NewAuthority("2", "two", start)
	must(t, err)
	keyOne, err := one.KeyPEM()
	must(t, err)
	keyTwo, err := two.KeyPEM()
	must(t, err)
	tests := []struct {
		name      string
		cert, key []byte
		want      error
	}{
		{"what belongs together is an authority", one.CertPEM(), keyOne, nil},
		{"the key of another is damage", one.CertPEM(), keyTwo, ErrDamaged},
		{"no key is damage", one.CertPEM(), nil, ErrDamaged},
		{"a cut certificate is damage", one.CertPEM()[:200], keyOne, ErrDamaged},
		{"a key in place of the certificate is damage", keyOne, keyOne, ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AuthorityOf(record.Cell{ID: "1", CACert: tt.cert, CAKey: tt.key})
			wantError(t, err, tt.want)
			if err == nil && !got.Certificate().Equal(one.Certificate()) {
				t.Error("another authority")
			}
		})
	}
}

func TestARequestMayAskForItsNameOnly(t *testing.T) {
	key, err := newKey()
	must(t, err)
	encode := func(template x509.CertificateRequest, key any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
		must(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der})
	}
	named := x509.CertificateRequest{Subject: pkix.Name{CommonName: "a"}}
	with := func(change func(*x509.CertificateRequest)) []byte {
		template := named
		change(&template)
		return encode(template, key)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	good := encode(named, key)
	broken := func() []byte {
		block, _ := pem.Decode(good)
		block.Bytes[len(block.Bytes)-1] ^= 1
		return pem.EncodeToMemory(block)
	}
	tests := []struct {
		name string
		csr  []byte
		want error
	}{
		{"the plain request is accepted", good, nil},
		{"another name is refused", with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "b" }), ErrRequest},
		{"a name with company is refused", with(func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"x"} }), ErrRequest},
		{"another node's id is refused", with(func(r *x509.CertificateRequest) { r.Subject.SerialNumber = "1" }), ErrRequest},
		{"a host name is refused", with(func(r *x509.CertificateRequest) { r.DNSNames = []string{"a"} }), ErrRequest},
		{"an address is refused", with(func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 9)} }), ErrRequest},
		{"a URI is refused", with(func(r *x509.CertificateRequest) { r.URIs = []*url.URL{nodeURI("c", "b")} }), ErrRequest},
		{"a key of another curve is refused", encode(named, p384), ErrRequest},
		{"a key of another kind is refused", encode(named, edwards), ErrRequest},
		{"a broken signature is refused", broken(), ErrRequest},
		{"two requests are refused", append(append([]byte{}, good...), good...), ErrRequest},
		{"no PEM is refused", []byte("hello"), ErrRequest},
		{"nothing is refused", nil, ErrRequest},
		{"a flood is refused", []byte(strings.Repeat("x", maxRequest+1)), ErrRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := checkRequest(tt.csr, "a")
			wantError(t, err, tt.want)
		})
	}
}

func TestIdentityRefusesWhatNamesNobody(t *testing.T) {
	tests := []struct{ name, uri string }{
		{"another scheme", "https://c/node/a"},
		{"no cell", "keelson:///node/a"},
		{"no name", "keelson://c/node/"},
		{"a name that is none", "keelson://c/node/A_B"},
		{"a deeper path", "keelson://c/node/a/b"},
		{"another kind", "keelson://c/robot/a"},
		{"a role that is none", "keelson://c/operator/root"},
		{"a query", "keelson://c/node/a?x=1"},
		{"a user", "keelson://u@c/node/a"},
		{"an escaped name", "keelson://c/node/%61"},
		{"the authority's own", "keelson://c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			uri, err := url.Parse(tt.uri)
			must(t, err)
			serial := newSerial()
			_, err = identityOf(&x509.Certificate{SerialNumber: serial, URIs: []*url.URL{uri}})
			wantError(t, err, ErrNoIdentity)
			_, err = identityOf(&x509.Certificate{SerialNumber: serial, URIs: []*url.URL{nodeURI("c", "a"), uri}})
			wantError(t, err, ErrNoIdentity)
		})
	}
}

func FuzzCheckRequest(f *testing.F) {
	key, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	csr, err := NewRequest(key, "a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(csr)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, csr []byte) {
		if _, err := checkRequest(csr, "a"); err != nil {
			wantError(t, err, ErrRequest)
		}
	})
}
