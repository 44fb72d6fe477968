package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/request"
)

// Sizes within a token, in bytes. Each is a multiple of five with its
// neighbours, so that base32 has no bits to spare.
const (
	tokenVersion = "kl1"
	idBytes      = 5
	secretBytes  = 20
	pinBytes     = 16
	sumBytes     = 4
	maxToken     = 256 // characters, with whatever surrounds it

	// TokenRandom is how many random bytes make a token.
	TokenRandom = idBytes + secretBytes
)

// alphabet is Crockford's base32: no i, l, o and u, so that a token can be read
// aloud and typed.
var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// lookalikes maps what people type to what was meant.
var lookalikes = strings.NewReplacer("o", "0", "i", "1", "l", "1")

// Token is the right to join a cell once, and the cell's authority pinned.
//
// Its text is kl1.ID.SECRET.CHECK: the id names the token in the store, the
// secret proves it, and the check is the first 16 bytes of the SHA-256 of the
// authority's certificate, followed by a checksum of all before it.
type Token struct {
	ID     string
	secret [secretBytes]byte
	pin    [pinBytes]byte
}

// NewToken makes a token for the cell of authority from random bytes, which
// must never be used twice.
func NewToken(random [TokenRandom]byte, authority *x509.Certificate) Token {
	t := Token{ID: alphabet.EncodeToString(random[:idBytes])}
	copy(t.secret[:], random[idBytes:])
	hash := sha256.Sum256(authority.Raw)
	copy(t.pin[:], hash[:])
	return t
}

// ParseToken reads a token. Case, surrounding blanks and look-alike characters
// do not matter. It returns [ErrTokenMalformed] with the reason for anything
// else.
func ParseToken(text string) (Token, error) {
	if len(text) > maxToken {
		return Token{}, malformed("it has %d characters, far more than a token has", len(text))
	}
	fields := strings.Split(strings.ToLower(strings.TrimSpace(text)), ".")
	if fields[0] != tokenVersion {
		return Token{}, malformed("it does not begin with %q", tokenVersion+".")
	}
	if len(fields) != 4 {
		return Token{}, malformed("it has %d parts divided by dots, not 4", len(fields))
	}
	var t Token
	id, err := decodeField(fields[1], "second", idBytes)
	if err != nil {
		return Token{}, err
	}
	secret, err := decodeField(fields[2], "third", secretBytes)
	if err != nil {
		return Token{}, err
	}
	check, err := decodeField(fields[3], "fourth", pinBytes+sumBytes)
	if err != nil {
		return Token{}, err
	}
	t.ID = alphabet.EncodeToString(id)
	copy(t.secret[:], secret)
	copy(t.pin[:], check)
	sum := t.sum()
	if !bytes.Equal(sum[:], check[pinBytes:]) {
		return Token{}, malformed("its checksum is wrong, so at least one character is")
	}
	return t, nil
}

func decodeField(field, which string, size int) ([]byte, error) {
	if want := alphabet.EncodedLen(size); len(field) != want {
		return nil, malformed("its %s part has %d characters, not %d", which, len(field), want)
	}
	raw, err := alphabet.DecodeString(lookalikes.Replace(field))
	if err != nil || len(raw) != size { // the decoder skips line breaks
		return nil, malformed("its %s part has a character that no token has", which)
	}
	return raw, nil
}

func malformed(format string, args ...any) error {
	return say(request.Invalid, ErrTokenMalformed, "this is not a join token: "+fmt.Sprintf(format, args...),
		"copy the whole line that `keelson token create` printed")
}

// Text returns the whole token, secret included.
func (t Token) Text() string {
	sum := t.sum()
	return t.body() + alphabet.EncodeToString(append(t.pin[:], sum[:]...))
}

// String returns the token without its secret, for logs.
func (t Token) String() string { return tokenVersion + "." + t.ID + ".***" }

// GoString is String.
func (t Token) GoString() string { return t.String() }

func (t Token) body() string {
	return tokenVersion + "." + t.ID + "." + alphabet.EncodeToString(t.secret[:]) + "."
}

func (t Token) sum() [sumBytes]byte {
	h := sha256.Sum256(append([]byte(t.body()), t.pin[:]...))
	return [sumBytes]byte(h[:])
}

// Record returns the half of the token that the cell keeps.
func (t Token) Record(created time.Time, valid time.Duration, by string) record.Token {
	hash := sha256.Sum256(t.secret[:])
	return record.Token{ID: t.ID, Hash: hash[:], Created: created, Expires: created.Add(valid), By: by}
}

// Verify compares the token with what the cell keeps of it, in constant time.
// It returns [ErrTokenUnknown] if the secret is wrong and [ErrTokenExpired] if
// it is right but too late.
func (t Token) Verify(kept record.Token, now time.Time) error {
	hash := sha256.Sum256(t.secret[:])
	if kept.ID != t.ID || subtle.ConstantTimeCompare(hash[:], kept.Hash) != 1 {
		return t.unknown()
	}
	if !now.Before(kept.Expires) {
		return say(request.Denied, ErrTokenExpired,
			fmt.Sprintf("the token %s expired at %s; it is now %s", t.ID, stamp(kept.Expires), stamp(now)),
			"make a new one with `keelson token create` on a member of the cell")
	}
	return nil
}

func (t Token) unknown() error {
	return say(request.Denied, ErrTokenUnknown, fmt.Sprintf("the cell does not know the token %s", t.ID),
		"it was made by another cell, or is long over; make a new one with `keelson token create` on a member of the cell")
}

// Pins reports whether cert is the authority that the token was made with.
func (t Token) Pins(cert *x509.Certificate) bool {
	hash := sha256.Sum256(cert.Raw)
	return cert.IsCA && subtle.ConstantTimeCompare(hash[:pinBytes], t.pin[:]) == 1
}
