package pki

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
)

// Authority signs the certificates of one cell. It is safe for concurrent use.
type Authority struct {
	cell string // id
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Issued is a new certificate.
type Issued struct {
	Certificate []byte // PEM
	Serial      string // lower-case hex
	Expires     time.Time
}

// NewAuthority returns the authority of a new cell with the given id and name,
// valid for [AuthorityLife] from now.
func NewAuthority(cellID, name string, now time.Time) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make the key of the authority: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: "Keelson cell " + name},
		URIs:                  []*url.URL{{Scheme: scheme, Host: cellID}},
		NotBefore:             now.Add(-BackDate),
		NotAfter:              now.Add(AuthorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the authority: %w", err)
	}
	return &Authority{cell: cellID, cert: cert, key: key}, nil
}

// AuthorityOf returns the authority kept in a cell's record. It returns
// [ErrDamaged] if certificate and key cannot be read or do not belong together.
func AuthorityOf(cell record.Cell) (*Authority, error) {
	cert, err := decodeCert(cell.CACert)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate of cell %s: %w: %w", cell.Name, ErrDamaged, err)
	}
	key, err := decodeKey(cell.CAKey)
	if err != nil {
		return nil, fmt.Errorf("read the authority's key of cell %s: %w: %w", cell.Name, ErrDamaged, err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("the authority's key of cell %s is not that of its certificate: %w", cell.Name, ErrDamaged)
	}
	return &Authority{cell: cell.ID, cert: cert, key: key}, nil
}

// Certificate returns the authority's own certificate. It must not be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertPEM returns the authority's own certificate as PEM.
func (a *Authority) CertPEM() []byte { return encodeCert(a.cert.Raw) }

// KeyPEM returns the authority's private key as PEM.
func (a *Authority) KeyPEM() ([]byte, error) { return encodeKey(a.key) }

// SignNode signs a node's certificate for [CertificateLife]. The request may
// ask for the node's name only ([ErrRequest]); id, address and links come from
// node.
func (a *Authority) SignNode(csr []byte, node record.Node, now time.Time) (Issued, error) {
	checked, err := checkRequest(csr, string(node.Name))
	if err != nil {
		return Issued{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: string(node.Name), SerialNumber: node.ID},
		URIs:        []*url.URL{nodeURI(a.cell, node.Name)},
		NotAfter:    now.Add(CertificateLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	addHosts(template, string(node.Name), NodeHost, node.Address)
	addHosts(template, node.Links...)
	return a.sign(template, checked.key, now)
}

// SignOperator signs a client certificate for a person, for life or
// [OperatorLife], whichever is shorter. The request may ask for the person's
// name only ([ErrRequest]).
func (a *Authority) SignOperator(csr []byte, name string, role Role, life time.Duration, now time.Time) (Issued, error) {
	if name == "" || len(name) > 64 || !role.valid() {
		return Issued{}, badRequest("%q with the role %q is not an operator", name, role)
	}
	checked, err := checkRequest(csr, name)
	if err != nil {
		return Issued{}, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		URIs:        []*url.URL{operatorURI(a.cell, role)},
		NotAfter:    now.Add(min(life, OperatorLife)),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return a.sign(template, checked.key, now)
}

// sign completes template and signs it. What would not be valid now is refused
// with [ErrClockOff] or [ErrCertificateExpired].
func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PublicKey, now time.Time) (Issued, error) {
	if now.Before(a.cert.NotBefore) {
		return Issued{}, say(request.Refused, ErrClockOff,
			fmt.Sprintf("this node's clock says %s, but the cell was made at %s", stamp(now), stamp(a.cert.NotBefore.Add(BackDate))),
			"set the clock (NTP keeps it right) and try again")
	}
	if now.After(a.cert.NotAfter) {
		return Issued{}, say(request.Refused, ErrCertificateExpired,
			fmt.Sprintf("the cell's authority expired at %s and this node's clock says %s", stamp(a.cert.NotAfter), stamp(now)),
			"if the clock is wrong, set it; otherwise the cell needs a new authority")
	}
	template.SerialNumber = newSerial()
	template.NotBefore = now.Add(-BackDate)
	if template.NotBefore.Before(a.cert.NotBefore) {
		template.NotBefore = a.cert.NotBefore
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		return Issued{}, fmt.Errorf("sign the certificate of %s: %w", template.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Issued{}, fmt.Errorf("read the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return Issued{Certificate: encodeCert(der), Serial: serialText(cert), Expires: cert.NotAfter}, nil
}

// addHosts adds each host to template as an IP address or a DNS name, once.
func addHosts(template *x509.Certificate, hosts ...string) {
	for _, host := range hosts {
		if addr, err := netip.ParseAddr(host); err == nil {
			addIP(template, addr.Unmap().WithZone("").AsSlice())
			continue
		}
		addName(template, host)
	}
}

func addIP(template *x509.Certificate, ip net.IP) {
	for _, known := range template.IPAddresses {
		if known.Equal(ip) {
			return
		}
	}
	template.IPAddresses = append(template.IPAddresses, ip)
}

func addName(template *x509.Certificate, name string) {
	for _, known := range template.DNSNames {
		if known == name {
			return
		}
	}
	template.DNSNames = append(template.DNSNames, name)
}

// newSerial returns 127 random bits, never 0 (RFC 5280, section 4.1.2.2).
func newSerial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}
