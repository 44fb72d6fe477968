package specfile

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/keelson/keelson/internal/model/spec"
)

// Marshal returns services as a file, one document each, in the form that
// [Parse] reads. Of valid services Parse returns the same again, normalized.
// What is not set is not written, nor is a part's name that is the default.
func Marshal(services ...spec.Service) []byte {
	var b bytes.Buffer
	for i, s := range services {
		if i > 0 {
			b.WriteString("---\n")
		}
		write(&b, serviceNode(s), "")
	}
	return b.Bytes()
}

// pair is one line of a mapping.
type pair struct {
	key   string
	value any // scalar, bare, flow, []pair or [][]pair
}

// scalar is a text, quoted where it must be; bare is never quoted.
type (
	scalar string
	bare   string
)

// flow is a list in brackets.
type flow []string

func write(b *bytes.Buffer, pairs []pair, indent string) {
	for _, p := range pairs {
		line := indent + quote(p.key) + ":"
		switch v := p.value.(type) {
		case scalar:
			b.WriteString(line + " " + quote(string(v)) + "\n")
		case bare:
			b.WriteString(line + " " + string(v) + "\n")
		case flow:
			quoted := make([]string, 0, len(v))
			for _, s := range v {
				quoted = append(quoted, quote(s))
			}
			b.WriteString(line + " [" + strings.Join(quoted, ", ") + "]\n")
		case []pair:
			b.WriteString(line + "\n")
			write(b, v, indent+"  ")
		case [][]pair:
			b.WriteString(line + "\n")
			for _, item := range v {
				var inner bytes.Buffer
				write(&inner, item, indent+"    ")
				b.WriteString(indent + "  - " + strings.TrimPrefix(inner.String(), indent+"    "))
			}
		}
	}
}

// plain is what needs no quotes anywhere in YAML.
var plain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9/._+-]*$`)

// quote returns s as YAML reads it back as text.
func quote(s string) string {
	_, err := strconv.ParseFloat(s, 64)
	_, err2 := strconv.ParseInt(s, 0, 64) // 0x1f
	isNumber := (err == nil || err2 == nil) && !integer.MatchString(s)
	if plain.MatchString(s) && !isNumber && !slices.Contains(reserved[:], strings.ToLower(s)) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// integer is a number that is the same text in every version of YAML.
var integer = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)

// reserved are texts that some reader of YAML takes for something else.
var reserved = [...]string{"true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"}
