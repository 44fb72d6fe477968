package reasons

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/specfile"
)

// File is what was read: one file for the cell, and where in it the operator's own
// files are.
type File struct {
	request.File
	begin []begin // where each of several begins; nil for one
}

// begin is the line after which a file stands in the joined one.
type begin struct {
	name  string
	after int
}

// Join reads files of services, and the .yaml and .yml files of folders, and
// makes one file of them. Each must be right in itself; what is wrong in any of
// them is in the error. The path - is standard input.
func Join(paths []string, stdin io.Reader) (File, error) {
	var all []string
	for _, path := range paths {
		files, err := within(path)
		if err != nil {
			return File{}, err
		}
		all = append(all, files...)
	}
	if len(all) > specfile.MaxDocuments {
		return File{}, refuse("too-many-files", fmt.Sprintf("%d files are more than the %d that can be read at once", len(all), specfile.MaxDocuments))
	}
	var names []string
	var joined bytes.Buffer
	var begins []begin
	var wrong specfile.Problems
	lines := 0
	for _, path := range all {
		name, content, err := read(path, stdin)
		if err != nil {
			return File{}, err
		}
		if len(all) == 1 {
			return File{File: request.File{Name: name, Content: content}}, nil
		}
		if _, err := specfile.Read(name, content); err != nil {
			var problems specfile.Problems
			if !errors.As(err, &problems) {
				return File{}, refuse("spec-invalid", err.Error())
			}
			wrong = append(wrong, problems...)
		}
		names = append(names, name)
		begins = append(begins, begin{name, lines + 1})
		lines += bytes.Count(content, []byte("\n")) + 2
		// A mark of its own begins each file, and a blank line keeps them apart.
		joined.WriteString("---\n")
		joined.Write(bytes.TrimPrefix(content, []byte("\ufeff")))
		joined.WriteString("\n")
	}
	if len(wrong) > 0 {
		return File{}, refuse("spec-invalid", wrong.Error())
	}
	if joined.Len() > specfile.MaxBytes {
		return File{}, refuse("file-too-large", strings.Join(names, ", ")+": together they have more than 1 MiB")
	}
	return File{request.File{Name: strings.Join(names, "+"), Content: joined.Bytes()}, begins}, nil
}

// Places in what the cell says of a file: a problem's own, that of the line which
// it shows, and that of another line which it names.
var (
	problemAt = regexp.MustCompile(`^:(\d+):`)
	excerptAt = regexp.MustCompile(`^ +(\d+) \| `)
	otherAt   = regexp.MustCompile(`\bline (\d+)\b`)
)

// Own returns what the cell says of the joined file with the names and lines of
// the operator's own files.
func (f File) Own(text string) string {
	if f.begin == nil {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if at := excerptAt.FindStringSubmatch(line); at != nil {
			_, number := f.find(at[1])
			lines[i] = fmt.Sprintf("    %4d | %s", number, line[len(at[0]):])
			continue
		}
		rest, ours := strings.CutPrefix(line, f.Name)
		at := problemAt.FindStringSubmatch(rest)
		if !ours || at == nil {
			continue
		}
		name, number := f.find(at[1])
		rest = otherAt.ReplaceAllStringFunc(rest[len(at[0]):], func(other string) string {
			where, line := f.find(strings.TrimPrefix(other, "line "))
			return fmt.Sprintf("line %d of %s", line, where)
		})
		lines[i] = fmt.Sprintf("%s:%d:%s", name, number, rest)
	}
	return strings.Join(lines, "\n")
}

// find returns the file and the line in it of a line of the joined file.
func (f File) find(line string) (name string, number int) {
	at, err := strconv.Atoi(line)
	if err != nil {
		return f.Name, 0
	}
	for i := len(f.begin) - 1; i > 0; i-- {
		if at > f.begin[i].after {
			return f.begin[i].name, at - f.begin[i].after
		}
	}
	return f.begin[0].name, at - f.begin[0].after
}

// OwnAll is [File.Own] of several sentences.
func (f File) OwnAll(texts []string) []string {
	out := slices.Clone(texts)
	for i, text := range out {
		out[i] = f.Own(text)
	}
	return out
}

// OwnError is [File.Own] for what the cell refused.
func (f File) OwnError(err error) error {
	var known *request.Error
	if !errors.As(err, &known) || f.begin == nil {
		return err
	}
	told := *known
	told.Text = f.Own(known.Text)
	return &told
}

// read returns the name for messages and the content of a file of services.
func read(path string, stdin io.Reader) (string, []byte, error) {
	from, name := stdin, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", nil, unreadable(path, err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		from, name = f, path
	}
	content, err := io.ReadAll(io.LimitReader(from, specfile.MaxBytes+1))
	if err != nil {
		return "", nil, unreadable(name, err)
	}
	if len(content) > specfile.MaxBytes {
		return "", nil, &request.Error{
			Kind: request.Invalid, Code: "file-too-large",
			Text: fmt.Sprintf("%s: the file has more than 1 MiB", name), Hint: "nothing was changed; split it into smaller files",
		}
	}
	return name, content, nil
}

func unreadable(path string, err error) *request.Error {
	var known *os.PathError
	if errors.As(err, &known) {
		err = known.Err
	}
	return &request.Error{Kind: request.Invalid, Code: "unreadable", Text: fmt.Sprintf("%s: %s", path, err), Err: err}
}

// within returns the files that a path means.
func within(path string) ([]string, error) {
	info, err := os.Stat(path)
	if path == "-" || err != nil || !info.IsDir() {
		return []string{path}, nil //nolint:nilerr // reading it says what is wrong
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var out []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".yaml", ".yml"}, ext) {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	if len(out) == 0 {
		return nil, refuse("unreadable", path+": the folder holds no .yaml or .yml file")
	}
	return out, nil
}

func refuse(code, text string) error {
	return &request.Error{Kind: request.Invalid, Code: code, Text: text, Hint: "nothing was changed"}
}
