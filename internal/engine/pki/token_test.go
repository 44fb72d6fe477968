package pki

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/model/record"
)

// sample returns a token and the authority that it pins.
func sample(t testing.TB) (Token, *x509.Certificate) {
	t.Helper()
	a, err := NewAuthority("c0ffee", "lab", start)
	if err != nil {
		t.Fatal(err)
	}
	var random [TokenRandom]byte
	for i := range random {
		random[i] = byte(7 * i)
	}
	return NewToken(random, a.Certificate()), a.Certificate()
}

func TestParseTokenReadsWhatPeopleType(t *testing.T) {
	token, authority := sample(t)
	text := token.Text()
	tests := []struct{ name, text string }{
		{"as it was printed", text},
		{"with blanks around it", "  " + text + "\n"},
		{"in capitals", strings.ToUpper(text)},
		{"with look-alikes", text[:4] + strings.NewReplacer("0", "o", "1", "l").Replace(text[4:])},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseToken(tt.text)
			must(t, err)
			if got != token {
				t.Errorf("another token: %q", got.Text())
			}
			if !got.Pins(authority) {
				t.Error("the authority is not pinned")
			}
		})
	}
}

func TestParseTokenSaysWhatIsWrong(t *testing.T) {
	token, _ := sample(t)
	text := token.Text()
	fields := strings.Split(text, ".")
	tests := []struct{ name, text, word string }{
		{"nothing at all", "", "does not begin"},
		{"something else", "hello", "does not begin"},
		{"a later version", "kl2" + text[3:], "does not begin"},
		{"the last part missing", strings.Join(fields[:3], "."), "3 parts"},
		{"a part too many", text + ".x", "5 parts"},
		{"a short id", strings.Replace(text, fields[1], fields[1][1:], 1), "second part has 7"},
		{"a long secret", strings.Replace(text, fields[2], fields[2]+"0", 1), "third part has 33"},
		{"a cut end", text[:len(text)-1], "fourth part has 31"},
		{"a character of no token", text[:len(text)-1] + "u", "fourth part has a character"},
		{"a line break in the middle", text[:20] + "\n" + text[21:], "third part has a character"},
		{"a page of text", strings.Repeat("kl1.", 100), "characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseToken(tt.text)
			wantError(t, err, ErrTokenMalformed)
			wantWords(t, err, tt.word, "keelson token create")
		})
	}
}

func TestEveryTypoIsFound(t *testing.T) {
	token, _ := sample(t)
	text := token.Text()
	const letters = "0123456789abcdefghjkmnpqrstvwxyz"
	for i := len(tokenVersion) + 1; i < len(text); i++ {
		if text[i] == '.' {
			continue
		}
		for _, letter := range letters {
			if byte(letter) == text[i] {
				continue
			}
			typo := text[:i] + string(letter) + text[i+1:]
			if _, err := ParseToken(typo); err == nil {
				t.Fatalf("%q in place %d passed", letter, i)
			}
		}
		if i+1 < len(text) && text[i+1] != '.' && text[i] != text[i+1] {
			swapped := text[:i] + string(text[i+1]) + string(text[i]) + text[i+2:]
			if _, err := ParseToken(swapped); err == nil {
				t.Fatalf("places %d and %d swapped passed", i, i+1)
			}
		}
	}
}

func TestVerify(t *testing.T) {
	token, authority := sample(t)
	other := NewToken([TokenRandom]byte{1: 1, TokenRandom - 1: 9}, authority)
	forged := token
	forged.secret[0] ^= 1
	kept := token.Record(start, time.Hour, "ann")
	tests := []struct {
		name  string
		token Token
		kept  record.Token
		now   time.Time
		want  error
	}{
		{"a new token is good", token, kept, start, nil},
		{"it is good until just before its end", token, kept, start.Add(time.Hour - 1), nil},
		{"at its end it is expired", token, kept, start.Add(time.Hour), ErrTokenExpired},
		{"another secret is unknown", forged, kept, start, ErrTokenUnknown},
		{"another secret is unknown after the end too", forged, kept, start.Add(2 * time.Hour), ErrTokenUnknown},
		{"another id is unknown", other, kept, start, ErrTokenUnknown},
		{"an empty record is unknown", token, record.Token{}, start, ErrTokenUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, tt.token.Verify(tt.kept, tt.now), tt.want)
		})
	}
}

func TestWhatIsKeptOrLoggedOfATokenHidesTheSecret(t *testing.T) {
	token, _ := sample(t)
	secret := strings.Split(token.Text(), ".")[2]
	for _, text := range []string{token.String(), fmt.Sprintf("%v %+v %#v %s", token, token, token, token)} {
		if strings.Contains(text, secret) {
			t.Errorf("%q tells the secret", text)
		}
	}
	want := record.Token{
		ID: token.ID, Created: start, Expires: start.Add(time.Hour), By: "ann",
		Hash: token.Record(start, time.Minute, "bob").Hash,
	}
	if diff := cmp.Diff(want, token.Record(start, time.Hour, "ann")); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if string(want.Hash) == string(token.secret[:]) || len(want.Hash) != 32 {
		t.Error("the record has no hash of the secret")
	}
}

func FuzzParseToken(f *testing.F) {
	token, _ := sample(f)
	f.Add(token.Text())
	f.Add(strings.ToUpper(token.Text()))
	f.Add("kl1...")
	f.Add("kl1.\xff.\u212a.0")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseToken(text)
		if err != nil {
			wantError(t, err, ErrTokenMalformed)
			return
		}
		again, err := ParseToken(got.Text())
		if err != nil || again != got {
			t.Errorf("%q became %q, then %v", text, got.Text(), err)
		}
	})
}
