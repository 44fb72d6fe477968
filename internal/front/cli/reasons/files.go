package reasons

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keelson/keelson/internal/model/request"
	"github.com/keelson/keelson/internal/model/specfile"
)

// Join reads files of services, and the .yaml and .yml files of folders, and
// makes one file of them. Each must be right in itself, so that what is wrong is
// named with its own file and line. The path - is standard input.
func Join(paths []string, stdin io.Reader) (request.File, error) {
	var all []string
	for _, path := range paths {
		files, err := within(path)
		if err != nil {
			return request.File{}, err
		}
		all = append(all, files...)
	}
	if len(all) > specfile.MaxDocuments {
		return request.File{}, refuse("too-many-files", fmt.Sprintf("%d files are more than the %d that can be read at once", len(all), specfile.MaxDocuments))
	}
	var names []string
	var joined bytes.Buffer
	for _, path := range all {
		name, content, err := read(path, stdin)
		if err != nil {
			return request.File{}, err
		}
		if len(all) == 1 {
			return request.File{Name: name, Content: content}, nil
		}
		if _, err := specfile.Read(name, content); err != nil {
			return request.File{}, refuse("spec-invalid", err.Error())
		}
		names = append(names, name)
		// A mark of its own begins each file, and a blank line keeps them apart.
		joined.WriteString("---\n")
		joined.Write(bytes.TrimPrefix(content, []byte("\ufeff")))
		joined.WriteString("\n")
	}
	if joined.Len() > specfile.MaxBytes {
		return request.File{}, refuse("file-too-large", strings.Join(names, ", ")+": together they have more than 1 MiB")
	}
	return request.File{Name: strings.Join(names, "+"), Content: joined.Bytes()}, nil
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
