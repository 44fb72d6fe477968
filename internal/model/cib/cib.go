// Package cib reads the cluster information base of a Pacemaker cluster: an XML
// document with the configuration and, in its status section, what happened.
//
// It turns the text into a tree of elements and nothing more; what they mean
// is for others to say. Its main rule is that the text is hostile: it is read
// once, within limits of size, depth and number, and refused if it declares a
// document type or entities of its own.
package cib

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a document.
const (
	MaxBytes    = 32 << 20
	MaxDepth    = 64
	MaxElements = 500_000
	MaxAttrs    = 256 // of one element
	// MaxRun is how many bytes may follow each other without the beginning of an
	// element: no attribute and no text is larger.
	MaxRun = 256 << 10
)

var (
	// ErrTooLarge means that the document exceeds a limit; nothing of it is used.
	ErrTooLarge = errors.New("the document is larger than any cluster needs")
	// ErrUnsafe means that the document declares a type or entities.
	ErrUnsafe = errors.New("the document declares a type or entities, which no cluster does")
	// ErrNotCIB means that the document is XML and no cluster information base.
	ErrNotCIB = errors.New("the document is not a cluster information base")
	// ErrBroken means that the document is not well-formed XML.
	ErrBroken = errors.New("the document is not well-formed")
)

// Element is one element of the document. The nil element has no attributes and
// no children.
type Element struct {
	Name     string
	Attrs    map[string]string
	Children []*Element
}

// Read returns the root element of a document, which is named "cib". It wraps
// [ErrTooLarge], [ErrUnsafe], [ErrBroken] or [ErrNotCIB].
func Read(r io.Reader) (*Element, error) {
	root, err := parse(&bounded{from: r})
	if err != nil {
		return nil, err
	}
	if root.Name != "cib" || root.Child("configuration") == nil {
		return nil, fmt.Errorf("%w: it begins with <%s>", ErrNotCIB, clip(root.Name))
	}
	return root, nil
}

// bounded reads a document and ends with [ErrTooLarge] where it exceeds a limit, so
// that what is too large is never held.
type bounded struct {
	from     io.Reader
	all, run int
	err      error // of reading, nil if there was none
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.all += n
	for _, c := range p[:n] {
		b.run++
		if c == '<' {
			b.run = 0
		}
		if b.run > MaxRun {
			b.err = fmt.Errorf("%w: more than %d KiB in one value or text", ErrTooLarge, MaxRun>>10)
			return 0, b.err
		}
	}
	switch {
	case b.all > MaxBytes:
		b.err = fmt.Errorf("%w: more than %d MiB", ErrTooLarge, MaxBytes>>20)
		return 0, b.err
	case err != nil && !errors.Is(err, io.EOF):
		b.err = fmt.Errorf("read the document: %w", err)
		return n, b.err
	}
	return n, err
}

func parse(text *bounded) (*Element, error) {
	dec := xml.NewDecoder(text)
	var root *Element
	var open []*Element
	count := 0
	for {
		token, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if text.err != nil {
			return nil, text.err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s", ErrBroken, clip(err.Error()))
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, ErrUnsafe
		case xml.StartElement:
			count++
			if len(open) >= MaxDepth || count > MaxElements || len(t.Attr) > MaxAttrs {
				return nil, fmt.Errorf("%w: more than %d elements, %d levels or %d attributes", ErrTooLarge, MaxElements, MaxDepth, MaxAttrs)
			}
			e := element(t)
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.Children = append(parent.Children, e)
			case root != nil:
				return nil, fmt.Errorf("%w: it has two roots", ErrBroken)
			default:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1].Name != t.Name.Local {
				return nil, fmt.Errorf("%w: </%s> closes nothing", ErrBroken, clip(t.Name.Local))
			}
			open = open[:len(open)-1]
		}
	}
	if root == nil || len(open) > 0 {
		return nil, fmt.Errorf("%w: it ends too early", ErrBroken)
	}
	return root, nil
}

func element(t xml.StartElement) *Element {
	e := &Element{Name: t.Name.Local}
	if len(t.Attr) > 0 {
		e.Attrs = make(map[string]string, len(t.Attr))
	}
	for _, a := range t.Attr {
		e.Attrs[a.Name.Local] = a.Value
	}
	return e
}

func clip(s string) string {
	if len(s) > 200 {
		s = s[:200]
	}
	return strings.ToValidUTF8(s, "?")
}

// Attr returns an attribute, empty if there is none.
func (e *Element) Attr(name string) string {
	if e == nil {
		return ""
	}
	return e.Attrs[name]
}

// Has reports whether the element has the attribute.
func (e *Element) Has(name string) bool {
	if e == nil {
		return false
	}
	_, ok := e.Attrs[name]
	return ok
}

// ID returns the attribute "id".
func (e *Element) ID() string { return e.Attr("id") }

// Child returns the first child of a name, nil if there is none.
func (e *Element) Child(name string) *Element {
	if e == nil {
		return nil
	}
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// All returns the children of the names, in the order of the document.
func (e *Element) All(names ...string) []*Element {
	if e == nil {
		return nil
	}
	var out []*Element
	for _, c := range e.Children {
		for _, n := range names {
			if c.Name == n {
				out = append(out, c)
			}
		}
	}
	return out
}

// Walk calls visit for the element and all below it, parents first.
func (e *Element) Walk(visit func(*Element)) {
	if e == nil {
		return
	}
	visit(e)
	for _, c := range e.Children {
		c.Walk(visit)
	}
}
